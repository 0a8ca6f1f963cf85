package registry

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
)

// TestResolveStaysOutside: nobody makes the platform connect to itself or to its
// neighbors by the name of an image.
func TestResolveStaysOutside(t *testing.T) {
	r := serve(t, func(*aRegistry, http.ResponseWriter, *http.Request) {})
	err := New(Config{}).Resolve(t.Context(), r.image())
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	require.Equal(t, CodeNotFound, fault.From(err).Code)
	require.ErrorContains(t, err, "not at a public address")
	require.Empty(t, r.asked)
}
