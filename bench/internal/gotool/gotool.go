// Package gotool runs the go command and Node.js for the benchmarks.
package gotool

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Output runs a command in a folder and returns its standard output; input is its standard input.
func Output(ctx context.Context, dir string, input []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out, nil
}

// Versions returns the versions of modules that bench/go.mod pins, without the v, by path.
func Versions(ctx context.Context, root string, modules ...string) (map[string]string, error) {
	out, err := Output(ctx, filepath.Join(root, "bench"), nil, "go", append([]string{"list", "-m", "-f", "{{.Path}} {{.Version}}"}, modules...)...)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]string, len(modules))
	for line := range strings.Lines(string(out)) {
		path, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		versions[path] = strings.TrimPrefix(version, "v")
	}
	return versions, nil
}

// NPMVersions returns the versions that bench/package.json pins, by name.
func NPMVersions(root string) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(root, "bench", "package.json"))
	if err != nil {
		return nil, err
	}
	var p struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	err = json.Unmarshal(data, &p)
	return p.Dependencies, err
}
