package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// supervised starts a supervisor of two sleeping processes, of which the second
// needs the first, and returns its client.
func supervised(t *testing.T) control {
	t.Helper()
	dir, err := os.MkdirTemp("", "dc") // short: a socket is inside
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := Layout{ID: "test" + filepath.Base(dir), State: dir, Run: dir, Bin: dir}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "logs"), 0o755))

	always := func(context.Context) error { return nil }
	s := newSupervisor(l, slog.New(slog.DiscardHandler))
	s.start([]component{
		{name: "etcd", argv: []string{"sleep", "1000"}, ready: always},
		{name: "kube-apiserver", argv: []string{"sleep", "1000"}, after: []string{"etcd"}, ready: always},
	})
	listener, err := net.Listen("unix", l.ControlSocket())
	require.NoError(t, err)
	server := serveControl(s, listener, func() {})
	t.Cleanup(func() {
		s.stop(stopOrder())
		s.runs.Wait()
		require.NoError(t, server.Close())
	})
	return newControl(l)
}

func statusOf(t *testing.T, c control, name string) status {
	t.Helper()
	st, err := c.status(t.Context())
	require.NoError(t, err)
	for _, s := range st.Components {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("component %s is not listed", name)
	return status{}
}

func eventually(t *testing.T, c control, name string, want phase) status {
	t.Helper()
	require.Eventually(t, func() bool { return statusOf(t, c, name).Phase == want }, 10*time.Second, 5*time.Millisecond, "%s is %s", name, want)
	return statusOf(t, c, name)
}

func TestSupervisorRestartsWhatIsKilled(t *testing.T) {
	c := supervised(t)
	before := eventually(t, c, "kube-apiserver", phaseReady)
	require.NoError(t, syscall.Kill(before.PID, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		now := statusOf(t, c, "kube-apiserver")
		return now.Phase == phaseReady && now.PID != before.PID && now.Restarts == 1
	}, 10*time.Second, 5*time.Millisecond, "it runs again")
}

func TestSupervisorHoldsAndReleases(t *testing.T) {
	c := supervised(t)
	before := eventually(t, c, "kube-apiserver", phaseReady)
	require.NoError(t, c.hold(t.Context(), "kube-apiserver", time.Hour))
	require.False(t, alive(before.PID), "hold returns when the process is gone")
	eventually(t, c, "kube-apiserver", phaseHeld)
	require.Equal(t, phaseReady, statusOf(t, c, "etcd").Phase)
	require.NoError(t, c.release(t.Context(), "kube-apiserver"))
	eventually(t, c, "kube-apiserver", phaseReady)
	require.ErrorContains(t, c.hold(t.Context(), "nothing", 0), "no such component")
}

func TestSupervisorWaitsForNeeds(t *testing.T) {
	c := supervised(t)
	eventually(t, c, "kube-apiserver", phaseReady)
	require.NoError(t, c.hold(t.Context(), "etcd", time.Hour))
	require.NoError(t, c.hold(t.Context(), "kube-apiserver", 0))
	eventually(t, c, "kube-apiserver", phaseWaiting)
	require.NoError(t, c.release(t.Context(), "etcd"))
	eventually(t, c, "kube-apiserver", phaseReady)
}

func TestSupervisorStopsForGood(t *testing.T) {
	c := supervised(t)
	before := eventually(t, c, "kube-apiserver", phaseReady)
	require.NoError(t, c.stop(t.Context(), "kube-apiserver"))
	require.False(t, alive(before.PID))
	require.Equal(t, phaseStopped, statusOf(t, c, "kube-apiserver").Phase)
	require.Equal(t, phaseReady, statusOf(t, c, "etcd").Phase)
}

func TestClusterProcessesAreFoundByTheirMarker(t *testing.T) {
	c := supervised(t)
	pid := eventually(t, c, "etcd", phaseReady).PID
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(environ), processMarker+"=")
	require.True(t, found)
	id, _, _ := strings.Cut(rest, "\x00")
	all, err := clusterProcesses(id)
	require.NoError(t, err)
	require.Contains(t, all, process{pid: pid, name: "sleep"})
	require.NoError(t, killProcesses([]process{{pid: pid, name: "sleep"}}, 5*time.Second))
}
