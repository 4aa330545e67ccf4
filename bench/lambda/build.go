package lambda

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/latchkey-auth/latchkey/bench/internal/gotool"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

// architectures are Lambda's, by Go's names.
var architectures = map[string]string{"amd64": "x86_64", "arm64": "arm64"}

// function is something that is run as a Lambda function.
type function struct {
	name   string
	binary string // for this machine
	env    map[string]string
	judges bool // it is an authorizer
	issues bool // it answers no authorizer's event: its start alone is measured
}

// builder makes binaries as they are deployed.
type builder struct {
	root, dir string
	sizes     *report.Table
}

const sizeUnit = 1 << 20

// ours builds a function of the product's, by the target that `sam build` makes.
func (b builder) ours(ctx context.Context, name, target string) (string, error) {
	return b.each(name, func(dir, goarch string) error {
		_, err := gotool.Output(ctx, b.root, nil, "make", "-s", "--no-print-directory", "build-"+target+"Function",
			"ARTIFACTS_DIR="+dir, "ARCH="+architectures[goarch], "ROUTES=")
		return err
	})
}

// peer builds a package of this module with the same flags.
func (b builder) peer(ctx context.Context, name, pkg string) (string, error) {
	return b.each(name, func(dir, goarch string) error {
		_, err := gotool.Output(ctx, filepath.Join(b.root, "bench"), nil, "env", "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch,
			"go", "build", "-tags", "lambda.norpc", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "bootstrap"), pkg)
		return err
	})
}

// each builds for both architectures, notes the sizes, and returns the one that runs here.
func (b builder) each(name string, build func(dir, goarch string) error) (binary string, err error) {
	for goarch := range architectures {
		dir, err := os.MkdirTemp(b.dir, "")
		if err != nil {
			return "", err
		}
		if err := build(dir, goarch); err != nil {
			return "", err
		}
		file := filepath.Join(dir, "bootstrap")
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		b.sizes.Add(0, name, goarch, float64(info.Size())/sizeUnit)
		if goarch == runtime.GOARCH {
			binary = file
		}
	}
	if binary == "" {
		return "", fmt.Errorf("no function of this machine's architecture, %s", runtime.GOARCH)
	}
	return binary, nil
}

// node makes a file that has the kernel run Node.js with a script of this folder.
func (b builder) node(_ context.Context, _, script string) (string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return "", err
	}
	script, err = filepath.Abs(filepath.Join(b.root, "bench", "lambda", script))
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(b.dir, "")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "bootstrap")
	return file, os.WriteFile(file, []byte("#!"+node+" "+script+"\n"), 0o700)
}
