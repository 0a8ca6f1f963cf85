package e2e

import (
	"hash/fnv"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/internal/testenv"
)

// victim is a component that is killed, and how often it was.
type victim struct {
	name     string
	from, to time.Duration // how long it is left alone
	random   *rand.Rand
	kills    atomic.Int64
	gaveUp   atomic.Int64 // ended by itself, as where its database is away, and was started again
}

// A component is away for so long.
const (
	shortOutage = 500 * time.Millisecond
	longOutage  = 5 * time.Second
)

func (v *victim) outage() time.Duration { return between(v.random, shortOutage, longOutage) }

// unleash begins to kill everything, until settle.
func (c *chaos) unleash(t *testing.T) []*victim {
	var all []*victim
	add := func(name string, from, to time.Duration) *victim {
		h := fnv.New64()
		_, _ = h.Write([]byte(name))
		v := &victim{name: name, from: from, to: to, random: rand.New(rand.NewPCG(c.random.Uint64(), h.Sum64()))}
		all = append(all, v)
		return v
	}
	program := func(name, command string, running *testenv.Process) {
		c.keep(add(name, 3*time.Second, 12*time.Second), running, func() *testenv.Process { return c.program(t, command) })
	}
	program("worker 1", "worker", c.worker)
	program("worker 2", "worker", c.program(t, "worker"))
	program("API", "api", c.api)
	program("gateway", "gateway", c.gateway)
	c.keep(add("Temporal server", 5*time.Second, 15*time.Second), c.temporalServer, func() *testenv.Process {
		return c.Start(t, c.Temporal(c.temporalFile, c.temporalPort))
	})
	for _, name := range []string{"kube-apiserver", "kubelet"} {
		c.strike(add(name, 6*time.Second, 18*time.Second), func(away time.Duration) {
			c.Devcluster(t, "stop-component", "--state", c.ClusterState, name, "--for", away.String())
			c.pause(away)
		})
	}
	c.strike(add("PostgreSQL", 6*time.Second, 18*time.Second), func(away time.Duration) {
		c.postgres.Kill()
		c.pause(away)
		if err := c.postgres.Restart(); err != nil {
			t.Error(err)
		}
	})
	return all
}

// keep starts a program again when it ends, as its Deployment would, and kills it.
func (c *chaos) keep(v *victim, running *testenv.Process, start func() *testenv.Process) {
	c.rest.Go(func() {
		for p := running; ; p = start() {
			select {
			case <-p.Done():
				v.gaveUp.Add(1)
				c.pause(shortOutage)
			case <-time.After(between(v.random, v.from, v.to)):
				p.Kill()
				v.kills.Add(1)
				c.pause(v.outage())
			case <-c.calm:
				select {
				case <-p.Done():
					v.gaveUp.Add(1)
					c.pause(shortOutage)
				case <-c.over:
					return
				}
			case <-c.over:
				return
			}
		}
	})
}

// strike does to a component what kills it for a while, again and again.
func (c *chaos) strike(v *victim, kill func(away time.Duration)) {
	c.hunt.Go(func() {
		for {
			select {
			case <-c.calm:
				return
			case <-time.After(between(v.random, v.from, v.to)):
				kill(v.outage())
				v.kills.Add(1)
			}
		}
	})
}

// pause waits, for less when it is over.
func (c *chaos) pause(d time.Duration) {
	select {
	case <-c.over:
	case <-time.After(d):
	}
}

// settle ends the killing, and waits until everything is back.
func (c *chaos) settle(t *testing.T) {
	t.Helper()
	c.becalm(t)
	require.Eventually(t, func() bool { return c.get(t, "/readyz", nil) == 200 }, time.Minute, 100*time.Millisecond, "the API is back")
}

// becalm ends the killing, and leaves the cluster to the tests that follow as it was.
func (c *chaos) becalm(t *testing.T) {
	t.Helper()
	c.once.Do(func() {
		close(c.calm)
		c.hunt.Wait()
		c.Devcluster(t, "up", "--state", c.ClusterState)
	})
}

// end keeps programs from being started again, which end with the test.
func (c *chaos) end(t *testing.T) {
	t.Helper()
	c.becalm(t)
	close(c.over)
	c.rest.Wait()
}
