package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/pkg/rotating"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// RunGrants runs the suite of a rotating.Store. open returns an empty one of the test's own.
func RunGrants(t *testing.T, open func(t *testing.T) rotating.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, rotating.Store)
	}{
		{"create", testCreateGrant},
		{"rotate", testRotateGrant},
		{"rotate what has ended", testRotateEndedGrant},
		{"delete", testDeleteGrant},
		{"damaged", testDamagedGrant},
		{"cancelled", testGrantsCancelled},
		{"race create", testRaceCreateGrant},
		{"race rotate", testRaceRotateGrant},
		{"race rotate and delete", testRaceRotateDeleteGrant},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// grantStart is when the suite's grants begin; each lasts for grantLife.
var grantStart = time.Unix(1_790_000_000, 0)

const grantLife = time.Hour

// grantAt returns the record of a grant at a generation, written by some writer.
func grantAt(id string, generation int64, writer int) *rotating.Record {
	issued := grantStart.Add(time.Duration(generation) * time.Second)
	return &rotating.Record{
		GrantID: id, Generation: generation, TokenID: fmt.Sprintf("%s-%d-by-%d", id, generation, writer),
		IssuedAt: issued, ExpiresAt: issued.Add(grantLife),
	}
}

// wantGrant looks at what stands, by a write that can't succeed.
func wantGrant(t *testing.T, s rotating.Store, want *rotating.Record) {
	t.Helper()
	got, err := s.RotateGrant(t.Context(), grantAt(want.GrantID, want.Generation+1000, 0), grantStart)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the record that stands (-want +got):\n%s", diff)
	}
}

func wantNoGrant(t *testing.T, s rotating.Store, id string) {
	t.Helper()
	for _, generation := range []int64{1, 2, 1000} {
		stands, err := s.RotateGrant(t.Context(), grantAt(id, generation, 0), grantStart)
		if stands != nil || !errors.Is(err, rotating.ErrNotFound) {
			t.Fatalf("%+v, %v; want no such grant", stands, err)
		}
	}
}

// rotates writes a record, and fails the test unless it stands then.
func rotates(t *testing.T, s rotating.Store, next *rotating.Record, now time.Time) {
	t.Helper()
	got, err := s.RotateGrant(t.Context(), next, now)
	must(t, err)
	if diff := cmp.Diff(next, got); diff != "" {
		t.Fatalf("the record that stands (-want +got):\n%s", diff)
	}
	wantGrant(t, s, next)
}

func testCreateGrant(t *testing.T, s rotating.Store) {
	wantNoGrant(t, s, "g_1")
	first := grantAt("g_1", 1, 1)
	must(t, s.CreateGrant(t.Context(), first))
	wantGrant(t, s, first)
	if err := s.CreateGrant(t.Context(), grantAt("g_1", 1, 2)); !errors.Is(err, rotating.ErrExists) {
		t.Fatalf("%v; want that there is one", err)
	}
	wantGrant(t, s, first)
	for _, id := range []string{"g_", "g_11", token.NewID(token.GrantPrefix), token.NewID(token.GrantPrefix)} {
		must(t, s.CreateGrant(t.Context(), grantAt(id, 1, 3)))
		wantGrant(t, s, grantAt(id, 1, 3))
	}
	wantGrant(t, s, first)
	wantNoGrant(t, s, "g")
}

func testRotateGrant(t *testing.T, s rotating.Store) {
	must(t, s.CreateGrant(t.Context(), grantAt("g_1", 1, 0)))
	must(t, s.CreateGrant(t.Context(), grantAt("g_2", 1, 0)))
	for generation := int64(2); generation < 12; generation++ { // across a change of digits
		next := grantAt("g_1", generation, 1)
		rotates(t, s, next, grantStart)
		for _, other := range []int64{1, 2, generation - 1, generation, generation + 2, 1 << 53} {
			stands, err := s.RotateGrant(t.Context(), grantAt("g_1", other, 2), grantStart)
			must(t, err)
			if diff := cmp.Diff(next, stands); diff != "" {
				t.Fatalf("after writing generation %d over %d (-want +got):\n%s", other, generation, diff)
			}
		}
	}
	wantGrant(t, s, grantAt("g_2", 1, 0))
}

// testRotateEndedGrant moves to where a record has ended, and no store has deleted it.
func testRotateEndedGrant(t *testing.T, s rotating.Store) {
	first := grantAt("g_1", 1, 0)
	must(t, s.CreateGrant(t.Context(), first))
	second := grantAt("g_1", 2, 0)
	for _, late := range []time.Duration{0, time.Millisecond, time.Second, 1000 * time.Hour} {
		stands, err := s.RotateGrant(t.Context(), second, first.Ends().Add(late))
		must(t, err)
		if diff := cmp.Diff(first, stands); diff != "" {
			t.Fatalf("%s after its end (-want +got):\n%s", late, diff)
		}
	}
	wantGrant(t, s, first)
	rotates(t, s, second, first.Ends().Add(-time.Millisecond))
	rotates(t, s, grantAt("g_1", 3, 0), first.Ends()) // its end has moved
}

func testDeleteGrant(t *testing.T, s rotating.Store) {
	must(t, s.DeleteGrant(t.Context(), "g_1")) // of a store that never had one
	for _, id := range []string{"g_1", "g_2"} {
		must(t, s.CreateGrant(t.Context(), grantAt(id, 1, 0)))
	}
	rotates(t, s, grantAt("g_1", 2, 0), grantStart)
	for range 2 {
		must(t, s.DeleteGrant(t.Context(), "g_1"))
		wantNoGrant(t, s, "g_1")
	}
	wantGrant(t, s, grantAt("g_2", 1, 0))
}

// testDamagedGrant stores a record that can't be read back: a failure, and no answer that a client would be told.
func testDamagedGrant(t *testing.T, s rotating.Store) {
	broken := grantAt("g_1", 1, 0)
	broken.TokenID = ""
	must(t, s.CreateGrant(t.Context(), broken))
	stands, err := s.RotateGrant(t.Context(), grantAt("g_1", 7, 0), grantStart)
	if stands != nil || err == nil || errors.Is(err, rotating.ErrNotFound) || errors.Is(err, rotating.ErrExists) {
		t.Fatalf("%+v, %v; want a failure", stands, err)
	}
}

func testGrantsCancelled(t *testing.T, s rotating.Store) {
	must(t, s.CreateGrant(t.Context(), grantAt("g_1", 1, 0)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	past, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: ctx, context.DeadlineExceeded: past} {
		for name, call := range map[string]func() error{
			"create":  func() error { return s.CreateGrant(ctx, grantAt("g_2", 1, 0)) },
			"exists":  func() error { return s.CreateGrant(ctx, grantAt("g_1", 1, 1)) },
			"rotate":  func() error { _, err := s.RotateGrant(ctx, grantAt("g_1", 2, 0), grantStart); return err },
			"refused": func() error { _, err := s.RotateGrant(ctx, grantAt("g_1", 9, 0), grantStart); return err },
			"absent":  func() error { _, err := s.RotateGrant(ctx, grantAt("g_2", 2, 0), grantStart); return err },
			"delete":  func() error { return s.DeleteGrant(ctx, "g_1") },
		} {
			if err := call(); !errors.Is(err, want) || errors.Is(err, rotating.ErrNotFound) || errors.Is(err, rotating.ErrExists) {
				t.Errorf("%s: %v; want it to be %v", name, err, want)
			}
		}
	}
	wantGrant(t, s, grantAt("g_1", 1, 0))
	wantNoGrant(t, s, "g_2")
}

// grantRounds is how often each race of grants is run.
func grantRounds() int {
	if os.Getenv("LATCHKEY_LONG") == "1" {
		return 100
	}
	return 10
}

func testRaceCreateGrant(t *testing.T, s rotating.Store) {
	for round := range grantRounds() {
		id := fmt.Sprintf("g_%d", round)
		winner := race(t, []error{rotating.ErrExists}, func(i int) error { return s.CreateGrant(t.Context(), grantAt(id, 1, i)) })
		wantGrant(t, s, grantAt(id, 1, winner))
	}
}

// testRaceRotateGrant has all writers write one generation, then all the next: one of each is written, and all are told so.
func testRaceRotateGrant(t *testing.T, s rotating.Store) {
	must(t, s.CreateGrant(t.Context(), grantAt("g_1", 1, 0)))
	for round := range grantRounds() {
		generation := int64(round) + 2
		told := atOnce(t, func(i int) (*rotating.Record, error) {
			return s.RotateGrant(t.Context(), grantAt("g_1", generation, i), grantStart)
		})
		for _, r := range told {
			if diff := cmp.Diff(told[0], r); diff != "" {
				t.Fatalf("two were told of two successors (-one +other):\n%s", diff)
			}
		}
		if told[0].Generation != generation {
			t.Fatalf("generation %d stands; want %d", told[0].Generation, generation)
		}
		wantGrant(t, s, told[0])
	}
}

// testRaceRotateDeleteGrant deletes a grant while others renew it: it does not come back.
func testRaceRotateDeleteGrant(t *testing.T, s rotating.Store) {
	for round := range grantRounds() {
		id := fmt.Sprintf("g_%d", round)
		must(t, s.CreateGrant(t.Context(), grantAt(id, 1, 0)))
		atOnce(t, func(i int) (*rotating.Record, error) {
			if i == writers/2 {
				return nil, s.DeleteGrant(t.Context(), id)
			}
			r, err := s.RotateGrant(t.Context(), grantAt(id, 2, i), grantStart)
			if errors.Is(err, rotating.ErrNotFound) {
				err = nil
			}
			return r, err
		})
		wantNoGrant(t, s, id)
	}
}

// atOnce has all writers call at once, and returns what each was told.
func atOnce(t *testing.T, call func(i int) (*rotating.Record, error)) []*rotating.Record {
	t.Helper()
	told, failed := make([]*rotating.Record, writers), make([]error, writers)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range writers {
		done.Go(func() {
			<-start
			told[i], failed[i] = call(i)
		})
	}
	close(start)
	done.Wait()
	must(t, errors.Join(failed...))
	return told
}
