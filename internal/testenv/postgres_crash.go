package testenv

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// StartDurablePostgres starts a server of the test's own that keeps what it has
// committed when it is killed. It ends with the test.
func StartDurablePostgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	server, err := newPostgres(true)
	require.NoError(tb, err, "start PostgreSQL")
	tb.Cleanup(func() {
		if err := server.Stop(); err != nil {
			tb.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return server
}

// Kill ends the server, every process of it, with SIGKILL: the state of its memory is
// lost, as with its machine. Restart starts it again.
func (s *PostgresServer) Kill() {
	pid := s.process.Process.Pid
	// Each child has a session of its own. One that outlived the server would hold its
	// shared memory, and keep the next one from starting. A server that is stopped has
	// no more children.
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	for _, child := range childrenOf(pid) {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	<-s.gone
}

// Restart starts a server that was killed again, on the same port and the same data,
// and returns when it has recovered.
func (s *PostgresServer) Restart() error {
	if !s.durable {
		return errors.New("a server that does not sync has nothing to start again on")
	}
	// A child that has not gone yet is found by the server, which then refuses to start.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var err error
	for deadline := time.Now().Add(readyTimeout); time.Now().Before(deadline); <-tick.C {
		s.gone = make(chan struct{})
		if err = s.start(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("start PostgreSQL again: %w", err)
}

// childrenOf lists the processes that a process has started.
func childrenOf(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var children []int
	for word := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(word); err == nil {
			children = append(children, child)
		}
	}
	return children
}
