package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	dir := f.place.dir
	none := func() error { return nil }
	e.WithoutIssuer = "`latchkey dev` is not running on " + dir
	e.WithoutFlow = e.WithoutIssuer
	if !thereIs(dir, e) {
		return none, errNothing
	}
	keys := openLaptopKeys(dir)
	e.Access, e.Refresh = keys.access, keys.refresh
	store, running := patientStore(&f.place, e)
	if store == nil {
		return none, nil
	}
	if public, ok := store.Store.(keyring.PublicStore); ok {
		e.Public = public
	}
	if !running {
		return store.close, nil
	}
	d, ok := runningDev(dir)
	if !ok {
		e.WithoutIssuer = filepath.Join(dir, demoFile) + ", in which `latchkey dev` says where it is, can't be read"
		e.WithoutFlow = e.WithoutIssuer
		return store.close, nil
	}
	e.Issuer, e.API, e.Audience = d.Issuer, cmp.Or(f.named["api"], d.APIURL), cmp.Or(f.named["audience"], devAudience)
	e.Clients = a.throwAway(&f.place, store)
	return store.close, nil
}

// thereIs looks at the folder, and reports whether there is one.
func thereIs(dir string, e *doctor.Examination) bool {
	found := doctor.Finding{Check: "laptop", Status: doctor.Failed}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		found.Detail, found.Fix = "there is no folder "+dir, "`latchkey dev` makes it; --dir names another, --stack a deployment"
	case info.Mode().Perm()&0o022 != 0:
		found.Detail, found.Fix = "others can write to "+dir+", and put clients and keys of their own there", "chmod go-w "+quoteShell(dir)
	default:
		return true
	}
	e.Tell(found)
	return err == nil
}

// patientStore opens the store, nil where it does not open, and reports whether `latchkey dev` runs on it.
func patientStore(p *place, e *doctor.Examination) (store *openedStore, running bool) {
	store, err := dialDev(p)
	running = err == nil
	if errors.Is(err, adminsock.ErrNotRunning) {
		store, err = openLaptop(p)
	}
	found := doctor.Finding{Check: "store", Status: doctor.Failed}
	if err != nil {
		found.Detail, store = err.Error(), nil
	} else {
		found.Status, found.Detail = doctor.OK, "it opens: "+store.where
	}
	e.Tell(found)
	return store, running
}

// runningDev reads where the `latchkey dev` on the folder answers.
func runningDev(dir string) (d demo, ok bool) {
	data, err := os.ReadFile(filepath.Join(dir, demoFile))
	if err != nil || json.Unmarshal(data, &d) != nil {
		return d, false
	}
	return d, d.Issuer != ""
}
