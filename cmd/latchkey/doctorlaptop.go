package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/latchkey-auth/latchkey/internal/adminsock"
	"github.com/latchkey-auth/latchkey/internal/doctor"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
)

// errNothing says that there is nothing to be examined, and that a finding has told why.
var errNothing = errors.New("there is nothing to be looked at")

// laptopPatient says what is looked at of a laptop. Its folder and its store are looked at here, for there is no other place
// that has them.
func (a *app) laptopPatient(_ context.Context, f *doctorFlags, e *doctor.Examination) (closing func() error, err error) {
	closing = func() error { return nil }
	dir := f.place.dir
	e.WithoutIssuer = "`latchkey dev` is not running on " + dir
	e.WithoutFlow = e.WithoutIssuer
	found := doctor.Finding{Check: "laptop", Status: doctor.Failed}
	if info, err := os.Stat(dir); err != nil {
		found.Detail, found.Fix = "there is no folder "+dir, "`latchkey dev` makes it; --dir names another, --stack a deployment"
		e.Tell(found)
		return closing, errNothing
	} else if info.Mode().Perm()&0o022 != 0 {
		found.Detail, found.Fix = "others can write to "+dir+", and put clients and keys of their own there", "chmod go-w "+quoteShell(dir)
		e.Tell(found)
	}
	keys := openLaptopKeys(dir)
	e.Access, e.Refresh = keys.access, keys.refresh
	dev, running := dialDev(&f.place)
	store := dev
	if errors.Is(running, adminsock.ErrNotRunning) {
		store, err = openLaptop(&f.place)
	} else {
		err = running
	}
	if err != nil {
		e.Tell(doctor.Finding{Check: "store", Status: doctor.Failed, Detail: err.Error()})
		return closing, nil
	}
	e.Tell(doctor.Finding{Check: "store", Status: doctor.OK, Detail: "it opens: " + store.where})
	if public, ok := store.Store.(keyring.PublicStore); ok {
		e.Public = public
	}
	if running != nil {
		return store.close, nil
	}
	if err := a.runningDev(dir, e); err != nil {
		e.WithoutIssuer, e.WithoutFlow = err.Error(), err.Error()
		return store.close, nil
	}
	e.Clients = a.throwAway(&f.place, store)
	if f.named["api"] != "" {
		e.API = f.named["api"]
	}
	if f.named["audience"] != "" {
		e.Audience = f.named["audience"]
	}
	return store.close, nil
}

// runningDev reads where the `latchkey dev` on the folder answers.
func (a *app) runningDev(dir string, e *doctor.Examination) error {
	data, err := os.ReadFile(filepath.Join(dir, demoFile))
	var d demo
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil || d.Issuer == "" {
		return fmt.Errorf("%s, in which `latchkey dev` says where it is, can't be read", filepath.Join(dir, demoFile))
	}
	e.Issuer, e.API, e.Audience = d.Issuer, d.APIURL, devAudience
	return nil
}
