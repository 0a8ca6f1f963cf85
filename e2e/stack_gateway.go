package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startGateway starts the gateway and waits until it is ready.
func (s *Stack) startGateway(t testing.TB) {
	t.Helper()
	s.gateway = s.program(t, "gateway")
	require.Eventually(t, func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.gatewayAddress+"/readyz", nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusNoContent
	}, 30*time.Second, 50*time.Millisecond, "the gateway is ready")
}
