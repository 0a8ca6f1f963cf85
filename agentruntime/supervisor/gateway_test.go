//go:build linux

package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

// told keeps what a gateway is told, by method and path.
type told map[string][]byte

// withGateway gives the agent a gateway that answers with an error, or takes it all.
func (b *bench) withGateway(answer error) told {
	calls := told{}
	b.Gateway, b.TokenFile = "http://192.0.2.1:3100", "/agentmarket/token/token"
	b.Call = func(_ context.Context, method, path string, body []byte) error {
		if answer == nil {
			calls[method+" "+path] = body
		}
		return answer
	}
	return calls
}

func TestGatewayIsToldOfTheEnd(t *testing.T) {
	large := `printf '"%0100000d"' 0`
	for name, tc := range map[string]struct {
		script string
		calls  []string
	}{
		"small result":    {`echo '{"a":"<b>"}'`, []string{"POST /v1/end"}},
		"large result":    {large, []string{"PUT /v1/result", "POST /v1/end"}},
		"no result":       {`true`, []string{"POST /v1/end"}},
		"failure":         {`exit 3`, []string{"POST /v1/end"}},
		"signal":          {`kill -KILL $$`, nil},
		"its own SIGTERM": {`kill -TERM $PPID; sleep 600`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.script)
			g := b.withGateway(nil)
			ctx, stop := Signals(t.Context())
			defer stop()
			envelope, _ := b.run(t, ctx)
			require.Len(t, g, len(tc.calls))
			for _, call := range tc.calls {
				require.Contains(t, g, call)
			}
			if len(tc.calls) == 0 {
				return
			}
			report, err := agentruntime.ParseEnvelope(g["POST /v1/end"])
			require.NoError(t, err)
			require.Equal(t, envelope, report)
			if body := g["PUT /v1/result"]; body != nil {
				require.True(t, envelope.Stored)
				require.NoError(t, envelope.VerifyBody(body))
				require.NotContains(t, b.stdout.String(), "agentmarket-result "+strings.Repeat("0", 1), "not in the log as well")
			}
			require.True(t, strings.HasSuffix(b.stdout.String(), agentruntime.LogEnd+"\n"), b.stdout.String())
		})
	}
}

// TestTheEndNeedsNoGateway: it is a shortcut.
func TestTheEndNeedsNoGateway(t *testing.T) {
	b := newBench(t, `printf '"%0100000d"' 0`)
	b.withGateway(errors.New("away"))
	envelope, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code)
	require.NotEmpty(t, envelope.Frame)
	require.Len(t, b.body(t, envelope), 100_002)
	require.Contains(t, b.stderr.String(), "away")
}

func TestTheAgentKnowsItsGateway(t *testing.T) {
	b := newBench(t, `echo "\"$AGENT_GATEWAY_URL $AGENT_TOKEN_FILE\""`)
	b.withGateway(nil)
	envelope, _ := b.run(t, t.Context())
	require.Equal(t, `"`+b.Gateway+" "+b.TokenFile+`"`, string(envelope.Result))

	b = newBench(t, `echo "\"${AGENT_GATEWAY_URL-none}${AGENT_TOKEN_FILE-none}\""`)
	envelope, _ = b.run(t, t.Context())
	require.Equal(t, `"nonenone"`, string(envelope.Result))
}

// TestProxy: clients of HTTP find it, whatever the image says of proxies.
func TestProxy(t *testing.T) {
	const show = `echo "\"$HTTPS_PROXY $https_proxy ${HTTP_PROXY-none} ${all_proxy-none} $NO_PROXY $no_proxy\""`
	image := []string{"PATH=/usr/bin:/bin", "HTTPS_PROXY=http://a", "HTTP_PROXY=http://b", "all_proxy=http://c", "no_proxy=d"}
	b := newBench(t, show)
	b.Environ = image
	b.Gateway, b.TokenFile, b.Egress, b.Proxy = "http://10.96.0.42:3100", "/token", true, "http://127.0.0.1:4000"
	e, _ := b.run(t, t.Context())
	const direct = "10.96.0.42,localhost,127.0.0.1,::1"
	require.Equal(t, `"http://127.0.0.1:4000 http://127.0.0.1:4000 none none `+direct+` `+direct+`"`, string(e.Result))

	b = newBench(t, show)
	b.Environ = image
	e, _ = b.run(t, t.Context())
	require.Equal(t, `"http://a  http://b http://c  d"`, string(e.Result), "without one it is the image's own business")
}
