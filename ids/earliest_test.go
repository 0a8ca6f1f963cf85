package ids_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
)

func TestEarliest(t *testing.T) {
	before := time.Now()
	id := ids.New[ids.Run](ids.PrefixRun)
	after := time.Now()
	require.LessOrEqual(t, ids.Earliest[ids.Run](ids.PrefixRun, before), id)
	require.Greater(t, ids.Earliest[ids.Run](ids.PrefixRun, after.Add(time.Millisecond)), id)
	require.True(t, ids.Valid(ids.PrefixRun, string(ids.Earliest[ids.Run](ids.PrefixRun, before))))
	require.LessOrEqual(t, ids.Earliest[ids.Run](ids.PrefixRun, time.Unix(-1, 0)), id, "nothing is that old")
}
