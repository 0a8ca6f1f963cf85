//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

// TestProbeReports: what listens is reached at once, what does not is not, and the
// report can be read.
func TestProbeReports(t *testing.T) {
	open, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer open.Close()
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	var out bytes.Buffer
	require.Equal(t, agentruntime.ExitOK, probe([]string{
		"--for=100ms", "--target=open,tcp," + open.Addr().String(), "--target=closed,tcp," + closed.Addr().String(),
	}, &out, io.Discard))
	var lines []agentruntime.ProbeReport
	for scanner := bufio.NewScanner(&out); scanner.Scan(); {
		text, ok := strings.CutPrefix(scanner.Text(), agentruntime.ProbeMark)
		require.True(t, ok)
		require.Less(t, len(text), agentruntime.MaxProbeLine)
		var line agentruntime.ProbeReport
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		lines = append(lines, line)
	}
	require.Len(t, lines, 2)
	require.Positive(t, lines[0].Targets[0].Reached)
	require.Zero(t, lines[0].Targets[1].Reached)
	require.NotEmpty(t, lines[0].Identity.Capabilities)
	require.Positive(t, lines[1].Processes.Started)
}

func TestProbeRefusesBadTargets(t *testing.T) {
	for _, text := range []string{"", "a,tcp", "a,ip,127.0.0.1:1", "a,tcp,127.0.0.1"} {
		_, err := parseTarget(text)
		require.Error(t, err, text)
	}
}

func TestDefaultRoute(t *testing.T) {
	const table = "Iface\tDestination\tGateway\neth0\t00000A0A\t00000000\neth0\t00000000\t010A580A\t0003\n"
	require.Equal(t, "10.88.10.1", defaultRoute(table))
	require.Empty(t, defaultRoute("Iface\n"))
}

// TestClaims: of a token nothing but whom it is for, and how long, is read.
func TestClaims(t *testing.T) {
	body := base64.RawURLEncoding.EncodeToString([]byte(`{"aud":["agentmarket-gateway"],"iat":100,"exp":700,"sub":"x"}`))
	audiences, seconds := claims("h." + body + ".s\n")
	require.Equal(t, []string{"agentmarket-gateway"}, audiences)
	require.EqualValues(t, 600, seconds)
	for _, bad := range []string{"", "a.b", "a.!.c", "a.e30x.c"} {
		audiences, _ = claims(bad)
		require.Empty(t, audiences)
	}
}

func TestUserMapped(t *testing.T) {
	require.False(t, userMapped("         0          0 4294967295\n"))
	require.True(t, userMapped("         0     131072      65536\n"))
	require.False(t, userMapped(""))
}
