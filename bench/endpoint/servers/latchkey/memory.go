package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// clientStore keeps records in their stored form, which each read decodes, as the stores on disk and on AWS do. It keeps
// them where Go's collector does not see them, as those of a store elsewhere: else many clients would cost each request.
type clientStore struct{ slots []byte }

const slot = 1 << 10 // of a record, its length first

func newClientStore(clients int) (*clientStore, error) {
	slots, err := unix.Mmap(-1, 0, clients*slot, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	return &clientStore{slots}, err
}

var errFixed = errors.New("the clients are fixed")

func clientID(i int) string { return fmt.Sprintf("shop-%06d", i) }

// at is a client's slot, nil for one that there is not.
func (s *clientStore) at(id string) []byte {
	i, err := strconv.Atoi(strings.TrimPrefix(id, "shop-"))
	if err != nil || i < 0 || i >= len(s.slots)/slot || clientID(i) != id {
		return nil
	}
	return s.slots[i*slot : (i+1)*slot]
}

// Client implements client.Store, as do the following; what is registered stays as it is.
func (s *clientStore) Client(_ context.Context, id string) (*client.Stored, error) {
	at := s.at(id)
	if at == nil {
		return nil, client.ErrNotFound
	}
	record, err := client.Unmarshal(id, at[2:2+binary.BigEndian.Uint16(at)])
	if err != nil {
		return nil, err
	}
	return &client.Stored{Record: *record, Revision: 1}, nil
}

// CreateClient is called before anything is served.
func (s *clientStore) CreateClient(_ context.Context, r *client.Record) error {
	data, err := r.Marshal()
	at := s.at(r.ID)
	if err != nil || at == nil || len(data) > slot-2 {
		return errors.Join(err, errors.New("no room"))
	}
	binary.BigEndian.PutUint16(at, uint16(len(data)))
	copy(at[2:], data)
	return nil
}

func (s *clientStore) UpdateClient(context.Context, *client.Record, int64) error { return errFixed }
func (s *clientStore) DeleteClient(context.Context, string, int64) error         { return errFixed }
func (s *clientStore) Clients(context.Context, func(*client.Stored) bool) error  { return errFixed }

// revocations is a revocation.Log that was written before, in the order of At.
type revocations []revocation.Entry

// Append implements revocation.Log, as do the following.
func (revocations) Append(context.Context, revocation.Entry) error {
	return errors.New("nothing is revoked here")
}

func (l revocations) Entries(_ context.Context, from, until time.Time, yield func(revocation.Entry) bool) error {
	for _, e := range l {
		if !e.At.Before(from) && (until.IsZero() || e.At.Before(until)) && !yield(e) {
			return nil
		}
	}
	return nil
}

func (revocations) Always(context.Context) ([]revocation.Entry, error) { return nil, nil }
func (revocations) FeedID(context.Context) (string, error)             { return "bench", nil }

// logFile is a file that begins anew when it has grown: each line is written by itself, as on Lambda, and the disk does
// not fill up.
type logFile struct {
	mu   sync.Mutex
	f    *os.File
	size int
}

const maxLog = 64 << 20

func openLog(name string) (*logFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return &logFile{f: f}, err
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+len(p) > maxLog {
		if err := l.f.Truncate(0); err != nil {
			return 0, err
		}
		l.size = 0
	}
	l.size += len(p)
	return l.f.Write(p)
}
