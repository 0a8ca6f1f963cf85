package agentruntime

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
)

func TestAdopted(t *testing.T) {
	warm := Launch{Warm: time.Minute, Grace: time.Second, Gateway: "http://10.0.0.1:3100", TokenFile: TokenFile, Command: []string{"/agent", "-x"}}
	parsed, err := ParseLaunch(warm.Args()[1:], io.Discard)
	require.NoError(t, err)
	require.Equal(t, time.Minute, parsed.Warm)
	require.Empty(t, parsed.Run)

	run := ids.New[ids.Run](ids.PrefixRun)
	adopted, err := parsed.Adopted(Adoption{Run: run, Attempt: 1, RunTimeout: time.Hour})
	require.NoError(t, err)
	require.Equal(t, run, adopted.Run)
	require.Equal(t, time.Hour, adopted.RunTimeout)
	require.Equal(t, warm.Command, adopted.Command)
	require.Zero(t, adopted.Warm)

	_, err = parsed.Adopted(Adoption{Run: "x", Attempt: 1, RunTimeout: time.Hour})
	require.ErrorContains(t, err, "run-id")
	for name, change := range map[string]func(*Launch){
		"a run":      func(l *Launch) { l.Run = run },
		"no gateway": func(l *Launch) { l.Gateway, l.TokenFile = "", "" },
		"negative":   func(l *Launch) { l.Warm = -1 },
	} {
		l := warm.WithDefaults()
		l.Attempt, l.RunTimeout = 1, time.Second
		require.NoError(t, l.Validate())
		change(&l)
		require.Error(t, l.Validate(), name)
	}
}
