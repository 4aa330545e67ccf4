//go:build unix

// Command samlocal is AWS for `sam local`, on a laptop: `make sam-local` runs it.
//
// It runs moto where containers reach it and makes there what the template's functions use, under the names that `sam local`
// gives to resources: their logical ids. It writes a configuration of the SAM CLI that goes with that, and prints the commands
// of the whole flow. Ctrl-C ends it, and nothing is kept. docs/sam-local.md says more.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	moto    string // the program
	port    int    // of moto; 0: any that is free
	apiPort int    // of `sam local start-api`; 0: any that is free now
	config  string // the file that is written
}

func main() {
	var o options
	flag.StringVar(&o.moto, "moto", "moto_server", "the `program` that stands for AWS")
	flag.IntVar(&o.port, "port", 4566, "its `port`; 0 for any that is free. events/rotate-custom-resource-*.json name 4566")
	flag.IntVar(&o.apiPort, "api-port", 3000, "`port` for sam local start-api; 0 for any that is free")
	flag.StringVar(&o.config, "config", "build/sam-local.toml", "`file` to write the SAM CLI's configuration to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ready := func(l *local) { fmt.Print(l.welcome(o.config)) }
	if err := run(ctx, o, os.Stderr, ready); err != nil {
		fmt.Fprintln(os.Stderr, "sam-local:", err)
		os.Exit(1)
	}
}

// local is what was set up.
type local struct {
	host         netip.Addr // of this machine: what listens there is reached by containers as host.docker.internal
	port         int        // of moto
	apiPort      int        // of `sam local start-api`
	architecture string     // as Lambda has it
	hasImage     bool       // the base image is here: nothing needs pulling
	secret       string     // of the client
}

// endpoint is moto, as seen from this machine.
func (l *local) endpoint() string { return origin(l.host.String(), l.port) }

// api is `sam local start-api`, as seen from this machine, and the issuer.
func (l *local) api() string { return origin(l.host.String(), l.apiPort) }

func origin(host string, port int) string {
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// run serves until ctx ends. It calls ready when everything is there.
func run(ctx context.Context, o options, log io.Writer, ready func(*local)) error {
	l := &local{port: o.port, apiPort: o.apiPort, architecture: "x86_64"}
	if runtime.GOARCH == "arm64" {
		l.architecture = "arm64"
	}
	var err error
	if l.host, err = hostOfContainers(ctx); err != nil {
		return err
	}
	for _, port := range []*int{&l.port, &l.apiPort} {
		if *port, err = free(ctx, l.host, *port); err != nil {
			return err
		}
	}
	image := "public.ecr.aws/lambda/provided:al2023-" + l.architecture
	l.hasImage = exec.CommandContext(ctx, "docker", "image", "inspect", image).Run() == nil

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, err := l.startMoto(ctx, o.moto, log)
	if err != nil {
		return err
	}
	defer func() { cancel(); <-ended }() //nolint:errcheck // it was told to end, and says so
	if err := l.prepare(ctx); err != nil {
		return err
	}
	if err := writeFile(o.config, l.samConfig()); err != nil {
		return err
	}
	ready(l)
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		close(ended)
		return fmt.Errorf("moto ended: %w", err)
	}
}

// hostOfContainers is the address of this machine that containers reach as host.docker.internal. With Docker's engine on this
// machine it is the bridge's, which no other machine reaches. Docker Desktop's bridge is within its virtual machine, which
// hands on to this one's 127.0.0.1.
func hostOfContainers(ctx context.Context) (netip.Addr, error) {
	cmd := exec.CommandContext(ctx, "docker", "network", "inspect", "bridge", "--format", "{{range .IPAM.Config}}{{.Subnet}} {{end}}")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("no Docker engine answers: %w: %s", err, strings.TrimSpace(string(out)))
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, subnet := range strings.Fields(string(out)) {
		bridge, err := netip.ParsePrefix(subnet)
		if err != nil {
			return netip.Addr{}, err
		}
		for _, a := range own {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() && bridge.Contains(prefix.Addr()) {
				return prefix.Addr(), nil
			}
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
}

// free returns the port, or any if it is 0, having seen that it is free.
func free(ctx context.Context, host netip.Addr, port int) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host.String(), strconv.Itoa(port)))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// startTime is what moto may take until it answers: a second, and more where it was installed just now.
const startTime = time.Minute

// startMoto returns once moto answers. It ends with ctx; then, or if it ends by itself, the channel has the outcome.
func (l *local) startMoto(ctx context.Context, program string, log io.Writer) (chan error, error) {
	cmd := exec.CommandContext(ctx, program, "-H", l.host.String(), "-p", strconv.Itoa(l.port))
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard // a line a request
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("moto, which make testdeps installs: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if err := request(ctx, http.MethodGet, l.endpoint()+"/moto-api/"); err == nil {
			return ended, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("moto ended at once: %w", err)
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			return nil, fmt.Errorf("moto does not answer within %v", startTime)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// request makes a request of moto that need not be signed.
func request(ctx context.Context, method, url string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return nil
}
