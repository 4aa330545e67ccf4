package generate

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// openLoop begins a request whenever one is due by the schedule, on any connection that is idle, and counts each one's
// latency from when it was due: a server that stalls delays what is due meanwhile, and that shows (else it would be
// omitted, and the slower the server the more).
func openLoop(ctx context.Context, j Job, conns []*conn) (Result, error) {
	// One thread sleeps until the next request is due; others take the answers.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	n := j.Count
	if n == 0 {
		n = int(j.Rate * j.Duration.Seconds())
	}
	loop := &open{idle: make(chan *asker, len(conns)), latency: make([]time.Duration, n), late: make([]time.Duration, n)}
	var wg sync.WaitGroup
	for _, c := range conns {
		a := &asker{conn: c}
		loop.idle <- a
		wg.Go(func() { loop.answers(a) })
	}
	start := time.Now()
	err := loop.schedule(ctx, j, n, start)
	elapsed := time.Since(start)
	for i := 0; err == nil && i < len(conns); i++ {
		_, err = loop.free(ctx) // so that all were answered
	}
	for _, c := range conns {
		c.Close()
	}
	wg.Wait()
	if err != nil {
		return Result{}, err
	}
	r := sum(conns, elapsed)
	r.Latency, r.Late = quantiles(loop.latency), quantiles(loop.late)
	return r, nil
}

type open struct {
	idle          chan *asker
	latency, late []time.Duration // by request
	failure       firstError
}

// asker is a connection of an open loop, and what it was last asked for.
type asker struct {
	*conn
	asked atomic.Pointer[asked]
}

type asked struct {
	number int
	due    time.Time
	seat   *seat
}

// schedule sends each request when it is due.
func (o *open) schedule(ctx context.Context, j Job, n int, start time.Time) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Else the kernel lets this thread sleep up to 50 µs longer.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	for i := range n {
		due := start.Add(time.Duration(float64(i) / j.Rate * float64(time.Second)))
		sleepUntil(due)
		idled := len(o.idle) > 0
		a, err := o.free(ctx)
		if err != nil {
			return err
		}
		if idled {
			o.late[i] = time.Since(due)
		}
		s := a.take()
		a.asked.Store(&asked{i, due, s})
		if _, err := a.Write(a.request(j.Kind, s)); err != nil {
			return err
		}
	}
	return nil
}

// free returns a connection that is idle, and waits for one.
func (o *open) free(ctx context.Context) (*asker, error) {
	select {
	case a := <-o.idle:
		return a, o.check(ctx)
	default:
	}
	timeout := time.NewTimer(answerTime)
	defer timeout.Stop()
	select {
	case a := <-o.idle:
		return a, o.check(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timeout.C:
		return nil, errors.New("no answer on any connection")
	}
}

func (o *open) check(ctx context.Context) error {
	if o.failure.set() {
		return o.failure.err
	}
	return ctx.Err()
}

// answers takes a connection's answers until it is closed.
func (o *open) answers(a *asker) {
	for {
		if _, err := a.in.Peek(1); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				o.fail(a, err)
			}
			return
		}
		q := a.asked.Load()
		if err := a.receive(q.seat); err != nil {
			o.fail(a, err)
			return
		}
		o.latency[q.number] = time.Since(q.due)
		o.idle <- a
	}
}

// fail has whoever waits for a connection see it.
func (o *open) fail(a *asker, err error) {
	o.failure.put(err)
	o.idle <- a
}

func sleepUntil(t time.Time) {
	for {
		d := time.Until(t)
		if d <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(d))
		_ = unix.Nanosleep(&ts, nil) // cut short by a signal, it is begun again
	}
}
