// Package version is which build of Latchkey this is.
package version

import (
	"cmp"
	"log/slog"
	"runtime"
	"runtime/debug"
)

// release and commit are set by the release build (internal/release), and nothing else is taken for a release.
var release, commit string

// Info is what a build says of itself.
type Info struct {
	// Version is the release's, such as 0.1.0; of any other build, what the go command has made of the repository's tags and
	// commit, or (devel).
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified"` // the tree had changes that the commit has not
	Go       string `json:"go"`
}

// Read returns this build's.
func Read() Info {
	info, _ := debug.ReadBuildInfo()
	return read(release, commit, info)
}

// read goes by what the go command wrote into the binary, which may be nil, unless the build is a release's.
func read(release, commit string, info *debug.BuildInfo) Info {
	i := Info{Version: "(devel)", Go: runtime.Version()}
	if release != "" {
		i.Version, i.Commit = release, commit
		return i
	}
	if info == nil {
		return i
	}
	i.Version = cmp.Or(info.Main.Version, i.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = s.Value
		case "vcs.modified":
			i.Modified = s.Value == "true"
		}
	}
	return i
}

// Log writes the line by which a function tells, once a start, which build it is.
func Log(log *slog.Logger, event string) {
	i := Read()
	log.Info(event, "version", i.Version, "commit", i.Commit, "modified", i.Modified, "go", i.Go)
}
