package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/spf13/pflag"

	"github.com/latchkey-auth/latchkey/internal/adminsock"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
)

// The files of the laptop's folder, besides demo.json.
const (
	defaultDir = ".latchkey"
	storeFile  = "store.db"
	keysFile   = "keys.json"
	socketFile = "admin.sock"
)

// place is where a command works: in the laptop's folder, or on a DynamoDB table.
type place struct {
	dir   string
	table string // empty: the laptop
	flags *pflag.FlagSet
}

func (a *app) addDirFlag(flags *pflag.FlagSet, p *place) {
	p.flags = flags
	flags.StringVar(&p.dir, "dir", cmp.Or(a.env("LATCHKEY_DIR"), defaultDir), "`folder` of the laptop's store and keys (env LATCHKEY_DIR)")
}

func (a *app) addTableFlag(flags *pflag.FlagSet, p *place) {
	flags.StringVar(&p.table, "clients-table", "", "DynamoDB `table` of the clients; without it, the laptop's store (env CLIENTS_TABLE)")
}

// dirGiven reports whether --dir is on the command line: then the laptop is meant, whatever the environment says.
func (p *place) dirGiven() bool { return p.flags.Changed("dir") }

// command returns a function that writes a command line of the tool, whose name was self, for the same folder.
func (p *place) command(self string) func(string) string {
	dir := ""
	if p.dirGiven() {
		dir = " --dir " + quoteShell(p.dir)
	}
	return func(args string) string { return quoteShell(self) + " " + args + dir }
}

// resolve fills in the table from the environment.
func (a *app) resolve(p *place) error {
	switch {
	case p.dirGiven() && p.flags.Changed("clients-table"):
		return usagef("--dir is the laptop's store, and --clients-table is on AWS: give either")
	case p.flags.Changed("clients-table") && p.table == "":
		return usagef("--clients-table is empty: it must be the name or the ARN of a table")
	case !p.dirGiven() && p.table == "":
		p.table = a.env("CLIENTS_TABLE")
	}
	return nil
}

func (p *place) aws() bool { return p.table != "" }

// where says in words where that is, to stand after "in".
func (p *place) where() string {
	if p.aws() {
		return "the DynamoDB table " + p.table
	}
	return "the store in " + p.dir
}

// openedStore is a client store that was opened for one command.
type openedStore struct {
	client.Store
	where string // see place.where
	close func() error
}

// openStore opens the store of clients: on the laptop through the process of `latchkey dev` while that runs, which has the
// file to itself, and the file otherwise.
func (a *app) openStore(ctx context.Context, p *place) (*openedStore, error) {
	if err := a.resolve(p); err != nil {
		return nil, err
	}
	if p.aws() {
		cfg, err := awsConfig(ctx)
		if err != nil {
			return nil, err
		}
		s, err := dynamostore.NewClients(dynamodb.NewFromConfig(cfg), p.table)
		if err != nil {
			return nil, err
		}
		return &openedStore{s, p.where(), func() error { return nil }}, nil
	}
	store, err := dialDev(p)
	if !errors.Is(err, adminsock.ErrNotRunning) {
		return store, err
	}
	path := filepath.Join(p.dir, storeFile)
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no store in %s: `latchkey dev` makes it there; --dir names another folder, --clients-table a table on AWS", p.dir)
	case err != nil:
		return nil, err
	}
	local, err := boltstore.Open(path)
	if errors.Is(err, boltstore.ErrLocked) { // by a process that was just starting
		if store, err := dialDev(p); err == nil {
			return store, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &openedStore{local, p.where(), local.Close}, nil
}

// dialDev opens the store of the `latchkey dev` that runs on the folder; adminsock.ErrNotRunning where none does.
func dialDev(p *place) (*openedStore, error) {
	s, err := adminsock.Dial(filepath.Join(p.dir, socketFile))
	if err != nil {
		return nil, err
	}
	return &openedStore{s, p.where(), s.Close}, nil
}

// awsConfig is the SDK's own, from the environment and ~/.aws.
func awsConfig(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return cfg, fmt.Errorf("the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return cfg, errors.New("no AWS region: set AWS_REGION, or choose a profile that has one with AWS_PROFILE")
	}
	return cfg, nil
}
