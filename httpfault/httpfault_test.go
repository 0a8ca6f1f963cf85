package httpfault_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/httpfault"
)

func TestEveryKindHasItsStatus(t *testing.T) {
	seen := map[int]fault.Kind{}
	for _, kind := range fault.Kinds() {
		status, known := httpfault.Status(kind)
		require.True(t, known, kind)
		require.NotEmpty(t, http.StatusText(status))
		require.Empty(t, seen[status], "of %s, too", kind)
		seen[status] = kind
	}
	_, known := httpfault.Status("other")
	require.False(t, known)
}
