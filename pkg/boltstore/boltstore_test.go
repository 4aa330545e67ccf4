package boltstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/boltstore"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/keyring"
	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/storetest"
	"github.com/latchkey-auth/latchkey/pkg/token"
)

// TestMain makes this binary, with the variable set, a process that holds a store open until its input ends.
func TestMain(m *testing.M) {
	path := os.Getenv("BOLTSTORE_TEST_HOLD")
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := boltstore.Open(path); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) })
}

func open(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func record(id string) *client.Record {
	return &client.Record{
		Version: client.RecordVersion, ID: id, Audiences: []string{"https://api.example.com"},
		Grants: []string{oauth.GrantClientCredentials}, RefreshMode: token.ModeBearer, Epoch: 1, Handle: "c_handle",
	}
}

func TestNewFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	s := open(t, path)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o; want 600", info.Mode().Perm())
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	must(t, s.CreateClient(t.Context(), record("kept")))
	must(t, s.Close())
	if _, err := open(t, path).Client(t.Context(), "kept"); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

// TestNewFileRace has many make the same store at once: one has it, the others find it locked, none finds half of it.
func TestNewFileRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	results := make([]error, 8)
	var done sync.WaitGroup
	for i := range results {
		done.Go(func() {
			var s *boltstore.Store
			if s, results[i] = boltstore.Open(path); s != nil {
				t.Cleanup(func() { _ = s.Close() })
			}
		})
	}
	done.Wait()
	opened := 0
	for _, err := range results {
		if err == nil {
			opened++
		} else if !errors.Is(err, boltstore.ErrLocked) {
			t.Error(err)
		}
	}
	if opened != 1 {
		t.Errorf("%d have it open; want 1", opened)
	}
}

func TestOrder(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	ids := []string{"zzz", "a-1", "a-10", "a-2", "000", "---", "abc"}
	for _, id := range ids {
		must(t, s.CreateClient(t.Context(), record(id)))
	}
	var got []string
	must(t, s.Clients(t.Context(), func(c *client.Stored) bool { got = append(got, c.ID); return true }))
	slices.Sort(ids)
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "BOLTSTORE_TEST_HOLD="+path)
	in, err := holder.StdinPipe()
	must(t, err)
	out, err := holder.StdoutPipe()
	must(t, err)
	must(t, holder.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	began := time.Now()
	_, err = boltstore.Open(path)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v to say that the store is locked", took)
	}
	if !errors.Is(err, boltstore.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v; want ErrLocked and the file's name", err)
	}
	must(t, in.Close())
	must(t, holder.Wait())
	open(t, path)
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"a folder":        dir,
		"in no folder":    filepath.Join(dir, "missing", "store.db"),
		"below a file":    filepath.Join(file(t, []byte("x")), "store.db"),
		"a broken link":   link(t, filepath.Join(dir, "nowhere", "x")),
		"a link in loops": loop(t),
	} {
		t.Run(name, func(t *testing.T) { wantNamed(t, path, openError(path), false) })
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("nothing is unreadable to root")
	}
	path := file(t, whole(t))
	must(t, os.Chmod(path, 0))
	wantNamed(t, path, openError(path), false)
	must(t, os.Chmod(path, 0o400))
	wantNamed(t, path, openError(path), false)
}

func TestDamaged(t *testing.T) {
	good := whole(t)
	garbage := make([]byte, len(good))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range garbage {
		garbage[i] = byte(random.Uint32())
	}
	cases := map[string][]byte{
		"empty": {}, "one byte": {0}, "text": []byte("Dear diary,\n"), "zeros": make([]byte, len(good)),
		"garbage": garbage, "first page": good[:4096], "meta pages alone": good[:8192],
		"foreign bbolt": foreign(t, func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err }),
		"no bucket": foreign(t, func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("meta"))
			if err != nil {
				return err
			}
			return b.Put([]byte("format"), []byte("1"))
		}),
		"tail wiped": append(slices.Clone(good[:8192]), make([]byte, len(good)-8192)...),
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			path := file(t, content)
			wantNamed(t, path, openError(path), true)
			after, err := os.ReadFile(path)
			must(t, err)
			if string(after) != string(content) {
				t.Error("the file was changed")
			}
		})
	}
}

// TestTruncated cuts a store short at every page and in between.
func TestTruncated(t *testing.T) {
	good := whole(t)
	used := used(t, good)
	for length := 0; length < used; length += 512 {
		path := file(t, good[:length])
		wantNamed(t, path, openError(path), true)
	}
	must(t, damagedOrIntact(t, file(t, good[:used])))
}

// used returns how much of a bbolt file holds pages; it grows in larger steps.
func used(t *testing.T, content []byte) int {
	t.Helper()
	db, err := bolt.Open(file(t, content), 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	var size int64
	must(t, db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil }))
	must(t, db.Close())
	return int(size)
}

// TestBitFlips turns single bits over. Either the store says that it is damaged or it still holds what it held, less
// what a shorter list could hide; it never panics, and never hands out a record that was not written.
func TestBitFlips(t *testing.T) {
	good := whole(t)
	random := rand.New(rand.NewPCG(3, 4))
	flips := 160
	if testenv.Long() {
		flips = 800
	}
	var offsets []int
	for page := 0; page < len(good); page += 4096 { // the headers, where a bit does most
		for range flips / 40 {
			offsets = append(offsets, page+random.IntN(96))
		}
	}
	for range flips {
		offsets = append(offsets, random.IntN(len(good)))
	}
	refused := 0
	for _, at := range offsets {
		content := slices.Clone(good)
		content[at] ^= 1 << random.IntN(8)
		path := file(t, content)
		if err := damagedOrIntact(t, path); err != nil {
			wantNamed(t, path, err, true)
			refused++
		}
		must(t, os.Remove(path))
	}
	if refused < len(offsets)/10 {
		t.Errorf("%d of %d flipped bits were noticed", refused, len(offsets))
	}
}

// TestTruncatedWhileOpen takes the file away from under an open store.
func TestTruncatedWhileOpen(t *testing.T) {
	path := file(t, whole(t))
	s := open(t, path)
	must(t, os.Truncate(path, 8192))
	_, err := s.Client(t.Context(), "client-001")
	wantNamed(t, path, err, true)
	wantNamed(t, path, s.CreateClient(t.Context(), record("new")), true)
	wantNamed(t, path, s.Close(), true)
}

func TestNewerFormat(t *testing.T) {
	path := file(t, foreign(t, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		return b.Put([]byte("format"), []byte("2"))
	}))
	err := openError(path)
	wantNamed(t, path, err, false)
	if errors.Is(err, boltstore.ErrDamaged) || !strings.Contains(err.Error(), "format version 2, this release reads 1") {
		t.Error(err)
	}
	open(t, filepath.Join(t.TempDir(), "store.db"))
	if errors.Is(openError(path), boltstore.ErrLocked) {
		t.Error("a refused file stays locked")
	}
}

// whole returns the content of a store of some pages: clients client-000 to client-059, and keys.
func whole(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	for i := range 60 {
		must(t, s.CreateClient(t.Context(), wholeRecord(i)))
	}
	key, err := keyring.Generate(keyring.ES256, time.Unix(1_700_000_000, 0))
	must(t, err)
	ring := keyring.Document{Version: keyring.DocumentVersion, Use: keyring.UseAccess, Keys: []keyring.Key{key}}
	public, err := ring.Public()
	must(t, err)
	must(t, s.PutPublicKeys(t.Context(), public, 0))
	must(t, s.Close())
	content, err := os.ReadFile(path)
	must(t, err)
	return content
}

func wholeRecord(i int) *client.Record {
	r := record(fmt.Sprintf("client-%03d", i))
	r.Name = strings.Repeat("n", 128)
	return r
}

// damagedOrIntact opens a store made from whole's and checks what it gives out. An error is the store's.
func damagedOrIntact(t *testing.T, path string) error {
	t.Helper()
	s, err := boltstore.Open(path)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Clients(t.Context(), func(c *client.Stored) bool {
		var i int
		if _, err := fmt.Sscanf(c.ID, "client-%03d", &i); err != nil {
			t.Fatalf("a client %q out of nowhere", c.ID)
		}
		if diff := cmp.Diff(&client.Stored{Record: *wholeRecord(i), Revision: 1}, c); diff != "" {
			t.Fatalf("client %s is not what was written (-want +got):\n%s", c.ID, diff)
		}
		return true
	})
}

// foreign returns the content of a bbolt file.
func foreign(t *testing.T, fill func(*bolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign.db")
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(fill))
	must(t, db.Close())
	content, err := os.ReadFile(path)
	must(t, err)
	return content
}

func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	must(t, os.WriteFile(path, content, 0o600))
	return path
}

func link(t *testing.T, to string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "link.db")
	must(t, os.Symlink(to, path))
	return path
}

func loop(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "loop.db")
	must(t, os.Symlink(path, path))
	return path
}

func openError(path string) error {
	s, err := boltstore.Open(path)
	if s != nil {
		_ = s.Close()
	}
	return err
}

// wantNamed checks for one line that names the file.
func wantNamed(t *testing.T, path string, err error, damaged bool) {
	t.Helper()
	switch {
	case err == nil:
		t.Error("no error; want one")
	case errors.Is(err, boltstore.ErrDamaged) != damaged || errors.Is(err, boltstore.ErrLocked):
		t.Errorf("%v; want ErrDamaged: %t", err, damaged)
	case !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n"):
		t.Errorf("%q; want one line that names %s", err, path)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
