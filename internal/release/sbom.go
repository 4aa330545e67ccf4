package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// contents are a file of the release and what was linked into its binary, as the binary says.
type contents struct {
	file string
	sum  [sha256.Size]byte
	info *buildinfo.BuildInfo
}

// sbom is the bill of materials (CycloneDX, JSON) of a release: each file, and each module that is in any, with the hash that
// go.sum has of it. It is made of what the binaries say themselves, so that it can neither miss a module nor name one that was
// only needed to test. There is no time and no serial number in it, which the same release would have others of when built again.
func sbom(version string, built []contents) ([]byte, error) {
	const own = "pkg:golang/github.com/latchkey-auth/latchkey"
	modules := map[string]cdx.Component{}
	var files []cdx.Component
	var dependencies []cdx.Dependency
	for _, b := range built {
		uses := []string{}
		for _, m := range append(b.info.Deps, &debug.Module{Path: "std", Version: strings.TrimPrefix(b.info.GoVersion, "go")}) {
			c, err := module(m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.file, err)
			}
			modules[c.BOMRef] = c
			uses = append(uses, c.BOMRef)
		}
		slices.Sort(uses)
		files = append(files, cdx.Component{
			BOMRef: b.file, Type: cdx.ComponentTypeApplication, Name: b.file, Version: version, PackageURL: own + "@" + version + "#" + strings.TrimPrefix(b.info.Path, b.info.Main.Path+"/"),
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(b.sum[:])}},
		})
		dependencies = append(dependencies, cdx.Dependency{Ref: b.file, Dependencies: &uses})
	}
	components := files
	for _, m := range modules {
		components = append(components, m)
	}
	slices.SortFunc(components, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	slices.SortFunc(dependencies, func(a, b cdx.Dependency) int { return cmp.Compare(a.Ref, b.Ref) })

	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &cdx.Component{
		BOMRef: own + "@" + version, Type: cdx.ComponentTypeApplication, Name: "latchkey", Version: version, PackageURL: own + "@" + version,
	}}
	bom.Components, bom.Dependencies = &components, &dependencies
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// module is a module as a component: by the one that has its place, if another has.
func module(m *debug.Module) (cdx.Component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	url := "pkg:golang/" + m.Path + "@" + m.Version
	c := cdx.Component{BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: url}
	if m.Sum == "" && m.Path == "std" {
		return c, nil
	}
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return c, fmt.Errorf("module %s has no hash: it is not one that others can have too", m.Path)
	}
	c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	return c, nil
}
