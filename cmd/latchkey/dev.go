package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey-auth/latchkey/internal/adminsock"
	"github.com/latchkey-auth/latchkey/internal/jsonlog"
	"github.com/latchkey-auth/latchkey/internal/outbound"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/user"
)

const defaultPort = 3000

// devFlags are the flags of `latchkey dev`.
type devFlags struct {
	place place
	host  string
	port  portNumber

	upstream, rules, api, stage string
	dpop, loopback              bool
}

func (a *app) devCommand() *cobra.Command {
	f := devFlags{port: defaultPort}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run all of Latchkey on this machine",
		Long: `Runs all of Latchkey on this machine, in one process: the handlers that Lambda runs, on an embedded store and a key file,
and a sample API, GET /whoami, behind the authorizer and an emulation of API Gateway. It makes what it needs in --dir at
the first run, keeps it for later ones, and prints a demo client and the commands to try. At / is a page to see the flow
and to try it by hand, in a browser on this machine.

With --upstream it serves an API of your own instead of the sample and the page, behind the authorizer, and by the --rules if
there are any. The upstream gets the request with its Authorization header, and what the authorizer says of the caller in
X-Latchkey-Client-Id, -Sub, -Scope, -Grant-Id, -Jti and -Exp; such headers of the caller's own are dropped.

It listens on this machine alone, for it speaks http. What it prints is on stdout; its log, one JSON line an outcome, is
on stderr. Ctrl-C ends it.`,
		Example: `  latchkey dev
  latchkey dev --port 4000 2> latchkey.log
  latchkey dev --upstream http://127.0.0.1:8080 --rules routes.yaml`,
		Args: noArgs,
	}
	cmd.RunE = a.action(func(ctx context.Context, _ []string) error {
		if err := a.devEnvironment(cmd, &f); err != nil {
			return err
		}
		return a.dev(ctx, &f)
	})
	a.addDirFlag(cmd.Flags(), &f.place)
	cmd.Flags().StringVar(&f.host, "host", "127.0.0.1", "address to listen on; only this machine's own, such as 127.0.0.1 or ::1")
	cmd.Flags().Var(&f.port, "port", "port to listen on; 0 for any that is free (env PORT)")
	cmd.Flags().StringVar(&f.upstream, "upstream", "", "`URL` of an API of your own, to be served behind the authorizer")
	cmd.Flags().StringVar(&f.rules, "rules", "", "`file` that says which scopes the upstream's routes need")
	cmd.Flags().StringVar(&f.api, "api", "", "`id` of the API in the rules that the upstream is (default: the file's only one)")
	cmd.Flags().StringVar(&f.stage, "stage", "", "`name` of its stage")
	cmd.MarkFlagsRequiredTogether("api", "stage")
	cmd.Flags().BoolVar(&f.dpop, "dpop", false, "let the upstream take DPoP-bound tokens too; the authorizer's answers are then not cached")
	cmd.Flags().BoolVar(&f.loopback, "allow-loopback-issuers", false, "fetch keys of issuers and clients from this machine too, and over http: never without\na reason, for whoever may name a URL has this process ask it")
	return cmd
}

// devEnvironment fills in what is not on the command line, and checks both.
func (a *app) devEnvironment(cmd *cobra.Command, f *devFlags) error {
	if env := a.env("PORT"); env != "" && !cmd.Flags().Changed("port") {
		if err := f.port.Set(env); err != nil {
			return usagef("PORT is %q: %v", env, err)
		}
	}
	if !isLoopback(f.host) {
		return usagef("--host is %q: it must be an address of this machine alone, such as 127.0.0.1, for tokens and secrets go over plain http", f.host)
	}
	return nil
}

// portNumber is a flag's value.
type portNumber uint16

// Set implements pflag.Value.
func (p *portNumber) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return errors.New("it must be a number from 0 to 65535")
	}
	*p = portNumber(n)
	return nil
}

func (p *portNumber) String() string { return strconv.Itoa(int(*p)) }

// Type implements pflag.Value; help shows it.
func (p *portNumber) Type() string { return "number" }

// isLoopback reports whether a host is this machine as it is reached from itself.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// dev runs until ctx ends.
func (a *app) dev(ctx context.Context, f *devFlags) (err error) {
	log := jsonlog.New(a.stderr)
	dir := f.place.dir
	up, err := a.openUpstream(f)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, f.host, int(f.port))
	if err != nil {
		return err
	}
	defer listener.Close() // where serving does not come to it
	issuer := "http://" + net.JoinHostPort(f.host, strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))

	if err := makeDir(dir); err != nil {
		return err
	}
	store, err := boltstore.Open(filepath.Join(dir, storeFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	keys := openLaptopKeys(dir)
	if _, err := a.first(ctx, keys, store, keyring.ES256); err != nil {
		return err
	}
	users := &user.Registry{Store: store, Revocations: store, Now: a.now}
	d, err := makeDemo(ctx, &client.Registry{Store: store, Revocations: store, Now: a.now}, users, dir, issuer, up, a.now())
	if err != nil {
		return err
	}
	handler, err := devHandler(devConfig{
		Issuer: issuer, Clients: store, Users: store, SignIns: store, SignInKey: store.SignInKey,
		Issuers: store, Assertions: store, Outbound: outbound.Config{Loopback: f.loopback},
		Public: store, Grants: store, Revocations: store, Keys: keys, Upstream: up, Log: log, Now: a.now,
		Bound: up == nil || f.dpop || up.rules != nil && up.rules.Bound,
	})
	if err != nil {
		return err
	}
	admin, err := adminsock.Listen(filepath.Join(dir, socketFile))
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	serve := func(l net.Listener, h http.Handler) *http.Server {
		s := &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      40 * time.Second, // above what the gateway grants a function
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		}
		go func() { ended <- s.Serve(l) }()
		return s
	}
	servers := []*http.Server{serve(listener, handler), serve(admin, adminsock.Handler(store))}
	// Both have listened since before this: whatever is pasted from here on is answered.
	fmt.Fprint(a.stdout, d.welcome(dir, f.place.command(os.Args[0]), up, f.rules))
	select {
	case err = <-ended:
		err = fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	// What is under way may end, though ctx has.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	for _, s := range servers {
		if e := s.Shutdown(grace); e != nil {
			err = errors.Join(err, fmt.Errorf("a request was still under way after %s", inWords(shutdownTimeout)), s.Close())
		}
	}
	return err
}

// shutdownTimeout is how long requests that are under way may take once the process was told to end.
const shutdownTimeout = 5 * time.Second

func listen(ctx context.Context, host string, port int) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d is taken: end what listens on it, or choose another with --port or PORT", port)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("port %d may not be used by you: choose one above 1023 with --port or PORT", port)
	case err != nil:
		return nil, fmt.Errorf("listening on %s: %w", host, err)
	}
	return l, nil
}

// makeDir makes the laptop's folder, for its owner alone. One that is there is left as it is.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return folderError(dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return folderError(dir, err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("the folder %s can be written to by others, who could put clients and keys of their own there: chmod go-w it, or choose another with --dir or LATCHKEY_DIR", dir)
	}
	// Found out here, it can be said in one way for all that would be written.
	f, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return folderError(dir, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func folderError(dir string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err // the path is ours to name, not that of the file that was tried
	}
	return fmt.Errorf("the folder %s can't be written to (%w): make it yours, or choose another with --dir or LATCHKEY_DIR", dir, err)
}
