package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/product"
)

// leave stores a file as the gateway does.
func (f *fixture) leave(run ids.Run, name, contentType, body string) {
	f.t.Helper()
	id := ids.New[ids.Artifact](ids.PrefixArtifact)
	a := product.Artifact{
		ID: id, RunID: run, Attempt: 1, Name: name, ContentType: contentType, CreatedAt: f.clock.now(),
		Blob: f.blobs.put(product.ArtifactKey(run, id), body),
	}
	sessions, ok := f.server.Artifacts.(product.SessionStore)
	require.True(f.t, ok)
	require.NoError(f.t, sessions.BeginArtifact(f.t.Context(), a))
	_, err := sessions.FinishArtifact(f.t.Context(), a)
	require.NoError(f.t, err)
}

// TestArtifacts: a file of a stranger is something to keep, which no browser shows or
// runs, and what the platform keeps beside it is none.
func TestArtifacts(t *testing.T) {
	f := newFixture(t)
	run := f.started()
	f.begin(run, 1)
	f.leave(run, "page.html", "text/html", "<script>alert(1)</script>")
	f.leave(run, product.ResultArtifact, "application/json", "{}")
	path := "/v1/runs/" + string(run) + "/artifacts"

	items := f.get(path).json(t)["items"].([]any)
	require.Len(t, items, 1)
	require.Equal(t, "page.html", items[0].(map[string]any)["name"])

	got := f.get(path + "/page.html")
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "<script>alert(1)</script>", got.text)
	require.Equal(t, `attachment; filename="page.html"`, got.header.Get("Content-Disposition"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	require.Equal(t, "sandbox; default-src 'none'", got.header.Get("Content-Security-Policy"))

	for _, name := range []string{product.ResultArtifact, "other"} {
		require.Equal(t, http.StatusNotFound, f.get(path+"/"+name).status, name)
	}
	_, stranger := f.organization("globex")
	for _, p := range []string{path, path + "/page.html"} {
		require.Equal(t, http.StatusNotFound, f.send(http.MethodGet, p, "", stranger).status, "another tenant's run does not exist")
	}
}
