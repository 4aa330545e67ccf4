package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is one that speaks JSON on its standard input and output, and ends when its input does.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan json.RawMessage // what it says; closed when it says no more
	said  bytes.Buffer         // on standard error; to be read when it has ended
	ended chan struct{}
}

// run starts a command on one processor.
func (r *Rig) run(ctx context.Context, cpu string, command []string, env ...string) (*process, error) {
	p := &process{lines: make(chan json.RawMessage), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, "taskset", append([]string{"-c", cpu}, command...)...)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = r.bench, append(os.Environ(), env...), &p.said
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", command[0], err)
	}
	go func() {
		defer close(p.lines)
		d := json.NewDecoder(out)
		for {
			var line json.RawMessage
			if d.Decode(&line) != nil {
				return
			}
			select {
			case p.lines <- line:
			case <-p.ended:
				return
			}
		}
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.in.Write(append(line, '\n'))
	return err
}

// read takes the next thing it says.
func (p *process) read(ctx context.Context, most time.Duration, v any) error {
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.end()
			return fmt.Errorf("it ended: %s", bytes.TrimSpace(p.said.Bytes()))
		}
		return json.Unmarshal(line, v)
	case <-timeout.C:
		return errors.New("it takes too long")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends it, and may be called again.
func (p *process) end() {
	select {
	case <-p.ended:
		return
	default:
	}
	close(p.ended)
	p.in.Close()
	_ = p.cmd.Process.Kill() // its own end, by its input's, would be as good
	_ = p.cmd.Wait()
}
