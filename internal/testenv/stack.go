package testenv

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/internal/freeport"
)

// Dev is what `make test` has built and started before the tests: the programs,
// the development cluster, and the images in it.
type Dev struct {
	Bin          string            // folder of the built programs
	ClusterState string            // state folder of the development cluster
	Kubeconfig   string            // of the development cluster
	Images       map[string]string // digest-pinned references by name
}

// NewDev finds what `make test` has prepared. It never skips: a test that needs
// a cluster fails without one.
func NewDev(tb testing.TB) Dev {
	tb.Helper()
	bin, state := os.Getenv("AGENTMARKET_TEST_BIN"), os.Getenv("AGENTMARKET_TEST_STATE")
	if bin == "" || state == "" {
		tb.Fatal("this test needs the development cluster: run it with `make test`, or see CONTRIBUTING.md for one test alone")
	}
	text, err := os.ReadFile(filepath.Join(state, "images.env"))
	require.NoError(tb, err, "the images were not built; run make test")
	images := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, ref, _ := strings.Cut(strings.TrimSpace(line), "=")
		images[name] = ref
	}
	cluster := filepath.Join(state, "cluster")
	return Dev{Bin: bin, ClusterState: cluster, Kubeconfig: filepath.Join(cluster, "kubeconfig"), Images: images}
}

// Devcluster runs the cluster's tool.
func (d Dev) Devcluster(tb testing.TB, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), filepath.Join(d.Bin, "devcluster"), args...)
	out, err := cmd.CombinedOutput()
	require.NoError(tb, err, "devcluster %s: %s", strings.Join(args, " "), out)
	return string(out)
}

// TemporalNamespace is the namespace of the Temporal that StartTemporal starts.
const TemporalNamespace = "agentmarket"

// StartTemporal starts a real Temporal server, a process of its own, on a SQLite
// file. It ends with the test.
func (d Dev) StartTemporal(tb testing.TB, file string, port int) *Process {
	tb.Helper()
	p := d.Start(tb, d.Temporal(file, port))
	p.WaitReady(tb)
	return p
}

// Temporal is the program that StartTemporal starts.
func (d Dev) Temporal(file string, port int) Program {
	return Program{
		Name: "temporal", Path: filepath.Join(d.Bin, "devstack"),
		Args:  []string{"temporal", "-file", file, "-port", strconv.Itoa(port)},
		Ready: "ready",
	}
}

// StartTemporalOnPostgres is StartTemporal on a PostgreSQL server (HOST:PORT) that
// has nothing of Temporal yet.
func (d Dev) StartTemporalOnPostgres(tb testing.TB, address string, port int) *Process {
	tb.Helper()
	p := d.Start(tb, Program{
		Name: "temporal", Path: filepath.Join(d.Bin, "devstack"),
		Args:  []string{"temporal", "-postgres", address, "-port", strconv.Itoa(port)},
		Ready: "ready",
	})
	p.WaitReady(tb)
	return p
}

// Program is a process of the platform under test.
type Program struct {
	Name string
	Path string
	Args []string
	Env  []string
	Dir  string // empty: that of the test
	// Ready begins the one line on stdout that says that the program is ready; empty:
	// it says nothing.
	Ready string
}

// Process is a running Program.
type Process struct {
	program Program
	cmd     *exec.Cmd
	ready   chan struct{}
	done    chan struct{}
	log     string
}

// Start starts a program. It is killed at the end of the test; its output is
// shown where the test fails.
func (d Dev) Start(tb testing.TB, program Program) *Process {
	tb.Helper()
	p := &Process{program: program, ready: make(chan struct{}), done: make(chan struct{})}
	p.log = filepath.Join(tb.TempDir(), program.Name+".log")
	log, err := os.Create(p.log)
	require.NoError(tb, err)
	p.cmd = exec.Command(program.Path, program.Args...)
	p.cmd.Env = append(os.Environ(), program.Env...)
	p.cmd.Dir = program.Dir
	p.cmd.Stderr = log
	// Not left behind when the test process is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, p.cmd.Start())
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			_, _ = fmt.Fprintln(log, lines.Text())
			if program.Ready != "" && strings.HasPrefix(lines.Text(), program.Ready) {
				close(p.ready)
			}
		}
		_ = p.cmd.Wait()
		_ = log.Close()
	}()
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			p.show(tb)
		}
	})
	return p
}

// show prints the last lines that the program wrote, but for those about requests
// that went well.
func (p *Process) show(tb testing.TB) {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return
	}
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.Contains(line, `"level":"INFO","msg":"request served"`)
	})
	tb.Logf("last lines of %s:\n%s", p.program.Name, strings.Join(lines[max(0, len(lines)-40):], "\n"))
}

// WaitReady waits for the program's ready line.
func (p *Process) WaitReady(tb testing.TB) {
	tb.Helper()
	select {
	case <-p.ready:
	case <-p.done:
		p.show(tb)
		tb.Fatalf("%s ended before it was ready", p.program.Name)
	case <-time.After(time.Minute):
		p.show(tb)
		tb.Fatalf("%s was not ready within a minute", p.program.Name)
	}
}

// PID is the identifier of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Stop ends the process with SIGTERM and waits until it is gone.
func (p *Process) Stop(tb testing.TB) {
	tb.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		tb.Fatalf("%s did not stop within 30 s of SIGTERM", p.program.Name)
	}
}

// FreePort returns a port of loopback that nothing listens on.
func FreePort(tb testing.TB) int {
	tb.Helper()
	ports, err := freeport.Find(1)
	require.NoError(tb, err)
	return ports[0]
}

// Wait waits for the program to end by itself, and fails the test if it did not
// end well.
func (p *Process) Wait(tb testing.TB) {
	tb.Helper()
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		tb.Fatalf("%s did not end within a minute", p.program.Name)
	}
	if !p.cmd.ProcessState.Success() {
		p.show(tb)
		tb.Fatalf("%s: %v", p.program.Name, p.cmd.ProcessState)
	}
}
