package e2e

import (
	"os"
	"sync"
	"testing"
)

// theCluster is the one that the tests share: either some of them run beside each other,
// or one runs alone. Who wants to be alone waits for all others and keeps none of them
// waiting: a test that has begun may need the place of one that would wait.
var theCluster = newShared()

type shared struct {
	mu      sync.Mutex
	changed *sync.Cond
	beside  int
	alone   bool
}

func newShared() *shared {
	s := &shared{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// beside lets a test run beside others: it does nothing to the cluster, to its node or
// to the computer that the others would not survive.
func beside(t *testing.T) {
	t.Helper()
	t.Parallel()
	join()
	t.Cleanup(leave)
}

func join() {
	theCluster.mu.Lock()
	defer theCluster.mu.Unlock()
	for theCluster.alone {
		theCluster.changed.Wait()
	}
	theCluster.beside++
}

func leave() {
	theCluster.mu.Lock()
	defer theCluster.mu.Unlock()
	theCluster.beside--
	theCluster.changed.Broadcast()
}

// alone waits until no other test runs, and keeps new ones from beginning until the
// function that it returns is called.
func alone() (others func()) {
	leave()
	theCluster.mu.Lock()
	defer theCluster.mu.Unlock()
	for theCluster.alone || theCluster.beside > 0 {
		theCluster.changed.Wait()
	}
	theCluster.alone = true
	return func() {
		theCluster.mu.Lock()
		theCluster.alone = false
		theCluster.changed.Broadcast()
		theCluster.mu.Unlock()
		join()
	}
}

// long leaves a test to the long form of CI.
func long(t *testing.T) {
	t.Helper()
	if !isLong() {
		t.Skip("in the long form of CI: AGENTMARKET_LONG=1, .ci/long")
	}
}

func isLong() bool { return os.Getenv("AGENTMARKET_LONG") != "" }
