package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/infra"
	"agentmarket/product"
)

// sseClient reads a stream as a browser does: an event counts when the empty line
// behind it has come, and only then is its id remembered.
type sseClient struct {
	lastID string
	ids    []string
	ended  bool
}

// read reads a stream until it ends, or is cut after so many bytes.
func (c *sseClient) read(stream io.Reader, cut int64) {
	lines := bufio.NewScanner(io.LimitReader(stream, cut))
	id, event := "", ""
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "id: "):
			id = strings.TrimPrefix(line, "id: ")
		case strings.HasPrefix(line, "event: "):
			event = strings.TrimPrefix(line, "event: ")
		case line == "" && id != "":
			c.lastID, c.ended = id, event == string(product.EventEnded)
			c.ids = append(c.ids, id)
			id = ""
		}
	}
}

// TestEventStreamThatIsCut: a client whose connection breaks ten times, most of
// them within an event, sees every event once and in order.
func TestEventStreamThatIsCut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.started()
	path := "/v1/runs/" + string(run) + "/events"
	var client sseClient
	const cuts, attempts = 10, 8
	for cut := range cuts {
		if cut < attempts { // while the run goes on
			f.begin(run, cut+1)
			f.endAttempt(run, cut+1, infra.ReasonNodeLost, "")
		}
		if cut == attempts {
			f.settle(run, product.ReasonPlatformError, "")
		}
		ctx, hangUp := context.WithCancel(t.Context())
		header := map[string]string{"Accept": "text/event-stream"}
		if client.lastID != "" {
			header["Last-Event-ID"] = client.lastID
		}
		response, err := http.DefaultClient.Do(f.request(ctx, call{method: http.MethodGet, path: path, header: header}))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		client.read(response.Body, int64(60+cut*37)) // within the first events of what is left
		hangUp()
		_ = response.Body.Close()
	}
	require.False(t, client.ended, "there is something left after the cuts")
	header := map[string]string{"Accept": "text/event-stream", "Last-Event-ID": client.lastID}
	rest := f.do(call{method: http.MethodGet, path: path, header: header})
	client.read(strings.NewReader(rest.text), int64(len(rest.text)))
	require.True(t, client.ended)

	var want []string
	for seq := range 1 + 3*attempts + 1 {
		want = append(want, fmt.Sprint(seq+1))
	}
	require.Equal(t, want, client.ids, "every event, once, in order")
}
