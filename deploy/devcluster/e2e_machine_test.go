//go:build e2e

package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tracesOf are the lines that tell of a cluster in every place where it could
// leave something on the machine. Other clusters may come and go meanwhile.
func tracesOf(t *testing.T, c clusterStatus) []string {
	t.Helper()
	marks := []string{c.ID, c.State + "/", strings.TrimSuffix(c.NodeIP, "1")}
	var traces []string
	for _, script := range []string{
		"ip -o address",
		"ip route show table all",
		"cat /proc/self/mountinfo",
		"iptables-save",
		"find /sys/fs/cgroup -maxdepth 2",
		"find " + runRoot + " " + longStateRoot + " /var/lib/cni /var/log/containers -maxdepth 2 2>/dev/null; true",
	} {
		out, err := exec.Command("sh", "-c", script).Output()
		require.NoError(t, err, script)
		for line := range strings.Lines(string(out)) {
			if slices.ContainsFunc(marks, func(mark string) bool { return strings.Contains(line, mark) }) {
				traces = append(traces, script+": "+line)
			}
		}
	}
	processes, err := clusterProcesses(c.ID)
	require.NoError(t, err)
	for _, p := range processes {
		if alive(p.pid) {
			traces = append(traces, "process "+p.name)
		}
	}
	return traces
}

// sysctls are the machine's values of what clusters change; ok is false while
// other clusters run, which keep them changed.
func sysctls(t *testing.T) (values map[string]string, ok bool) {
	t.Helper()
	running, err := runningClusters()
	require.NoError(t, err)
	values = map[string]string{}
	for _, name := range changedSysctls {
		raw, err := os.ReadFile("/proc/sys/" + name)
		if err == nil {
			values[name] = string(raw)
		}
	}
	return values, len(running) == 0
}

// listen accepts connections until the test ends and returns the address.
func listen(t *testing.T, ip string, port int) string {
	t.Helper()
	l, err := net.Listen("tcp4", net.JoinHostPort(ip, strconv.Itoa(port)))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// hostAddresses are the machine's IPv4 addresses that a pod could route to.
func hostAddresses(t *testing.T) []string {
	t.Helper()
	prefixes, err := net.InterfaceAddrs()
	require.NoError(t, err)
	var found []string
	for _, p := range prefixes {
		ip, _, err := net.ParseCIDR(p.String())
		if err == nil && ip.To4() != nil && !ip.IsLoopback() && !strings.HasPrefix(ip.String(), "10.") {
			found = append(found, ip.String())
		}
	}
	return found
}

func buildPrograms(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs("../../.dev/bin")
	require.NoError(t, err)
	cmd := exec.Command("./build.sh", bin)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Run())
	return bin
}

func scratch(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../.dev/e2e")
	require.NoError(t, err)
	return dir
}

func layoutOf(t *testing.T, c testCluster) Layout {
	t.Helper()
	l, err := newLayout(c.state)
	require.NoError(t, err)
	return l
}

func decode[T any](t *testing.T, raw []byte) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal(raw, &v), string(raw))
	return v
}
