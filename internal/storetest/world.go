package storetest

import (
	"testing"

	"agentmarket/product"
)

// World is an organization with an agent, for tests of what stands before the stores.
type World struct{ world }

// NewWorld makes one.
func NewWorld(t *testing.T, s Stores) World {
	t.Helper()
	return World{newWorld(t, s)}
}

// Going makes a run with its plan whose attempts have begun; the last one goes on.
func (w World) Going(t *testing.T, attempts int) product.Run {
	t.Helper()
	return w.going(t, attempts)
}
