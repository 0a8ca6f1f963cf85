package ids_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
)

func TestNewIsValidAndSorted(t *testing.T) {
	first := ids.New[ids.Run](ids.PrefixRun)
	second := ids.New[ids.Run](ids.PrefixRun)
	require.True(t, ids.Valid(ids.PrefixRun, string(first)))
	require.Len(t, ids.Body(first), 26)
	require.Less(t, string(first), string(second), "identifiers made in order sort in order")
}

func TestValidRefusesWhatIsNotAnIdentifier(t *testing.T) {
	good := string(ids.New[ids.Agent](ids.PrefixAgent))
	for _, bad := range []string{
		"", "agt", "agt_", "run_" + good[4:], good + "x", good[:len(good)-1],
		"agt_ABCDEFGHJKMNPQRSTVWXYZ0123", "agt_zzzzzzzzzzzzzzzzzzzzzzzzzz", "agt_'; drop table runs;--aaaa",
	} {
		require.False(t, ids.Valid(ids.PrefixAgent, bad), bad)
	}
}
