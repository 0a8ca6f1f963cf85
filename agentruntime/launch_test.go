package agentruntime_test

import (
	"flag"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
)

func TestLaunchRoundTrip(t *testing.T) {
	for _, l := range []agentruntime.Launch{
		{Run: someRun, Attempt: 1, RunTimeout: 300 * time.Second, Command: []string{"/hello"}},
		{Run: someRun, Attempt: 3, RunTimeout: time.Hour, Grace: 1500 * time.Millisecond, MaxResult: 100, DiskLimit: 64 << 20,
			Command: []string{"sh", "-c", "echo --", "--", "--attempt=9"}, InputFile: "/in", WorkDir: "/w", OutputFile: "/w/o",
			TerminationLog: "/t", CgroupDir: "/c"},
		{Run: someRun, Attempt: 1, RunTimeout: time.Second, Gateway: "http://10.0.0.1:3100", TokenFile: "/token", Egress: true, SecretFiles: true, Command: []string{"/hello"}},
	} {
		args := l.Args()
		require.Equal(t, "run", args[0])
		got, err := agentruntime.ParseLaunch(args[1:], io.Discard)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(l.WithDefaults(), got))
	}
}

func TestParseLaunchRefuses(t *testing.T) {
	run := "--run-id=" + someRun
	for _, args := range [][]string{
		{},
		{"--", "/hello"},
		{run},
		{run, "--", ""},
		{run, "--attempt=0", "--", "/hello"},
		{run, "--run-timeout=0s", "--", "/hello"},
		{run, "--grace=-1s", "--", "/hello"},
		{run, "--max-result=9999999", "--", "/hello"},
		{run, "--disk-limit=-1", "--", "/hello"},
		{run, "--egress", "--", "/hello"},
		{run, "--nonsense", "--", "/hello"},
		{run, "--", "/hello", "a\x00b"},
	} {
		_, err := agentruntime.ParseLaunch(args, io.Discard)
		require.True(t, fault.Is(err, fault.Invalid), "%q: %v", args, err)
	}
	_, err := agentruntime.ParseLaunch([]string{"--help"}, io.Discard)
	require.ErrorIs(t, err, flag.ErrHelp)
}
