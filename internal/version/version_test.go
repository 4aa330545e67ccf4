package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestRead(t *testing.T) {
	stamped := &debug.BuildInfo{Main: debug.Module{Version: "v0.1.1-0.20261127000000-0123456789ab"}, Settings: []debug.BuildSetting{
		{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0123456789ab"}, {Key: "vcs.modified", Value: "true"},
	}}
	for name, test := range map[string]struct {
		release, commit string
		info            *debug.BuildInfo
		want            Info
	}{
		"a release":                {"0.1.0", "fedcba", stamped, Info{Version: "0.1.0", Commit: "fedcba"}},
		"a build in a repository":  {"", "", stamped, Info{stamped.Main.Version, "0123456789ab", true, ""}},
		"a build of the mere tree": {"", "", &debug.BuildInfo{}, Info{Version: "(devel)"}},
		"one that says nothing":    {"", "ignored", nil, Info{Version: "(devel)"}},
	} {
		test.want.Go = runtime.Version()
		if got := read(test.release, test.commit, test.info); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
