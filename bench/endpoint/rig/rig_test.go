package rig_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
	"github.com/latchkey-auth/latchkey/bench/endpoint/rig"
	"github.com/latchkey-auth/latchkey/bench/internal/report"
)

// Each server does what is measured of it, by both loops; a generator that gets anything but tokens says so.
func TestServers(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.New(t.Context(), report.Options{Root: root, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	specs := append([]rig.Spec{rig.Hello(), rig.Limit(), rig.Latchkey(4), rig.LatchkeyOf(10)}, rig.Peers(4)...)
	for _, spec := range specs {
		t.Run(spec.Name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(root, "bench/node_modules/oidc-provider")); err != nil && spec.Name == rig.OIDCProvider(1).Name {
				t.Skip("npm ci in bench installs it")
			}
			s, err := r.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, kind := range []generate.Kind{generate.Token, generate.Refresh} {
				for _, job := range []generate.Job{
					{Kind: kind, Connections: 4, Count: 2000},
					{Kind: kind, Connections: 4, Rate: 500, Duration: 100 * time.Millisecond},
				} {
					got, err := s.Run(t.Context(), job)
					if err != nil {
						t.Fatal(err)
					}
					if want := max(job.Count, 50) / 2; got.Requests < want || got.CPU <= 0 {
						t.Errorf("%+v: %+v", job, got)
					}
					t.Logf("%s %v: %d in %v, %v CPU, %d token bytes, latency %+v, late %+v", kind, job.Rate, got.Requests, got.Elapsed, got.CPU, got.TokenBytes, got.Latency, got.Late)
				}
			}
			if mb, err := s.Memory(); err != nil || mb < 1 {
				t.Errorf("memory: %v MB, %v", mb, err)
			}
		})
	}
}
