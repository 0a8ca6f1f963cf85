package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChannels(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	f.newListing("greeter", nil)
	list := func() map[string]string {
		found := map[string]string{}
		for _, item := range f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter+"/channels", "", buyer))["items"].([]any) {
			c := item.(map[string]any)
			found[c["channel"].(string)] = fmt.Sprint(c["version"], " ", c["implicit"])
		}
		return found
	}
	require.Empty(t, list(), "a preview has no channel")
	f.publish("1.0.0")
	f.publish("1.1.0")
	require.Equal(t, map[string]string{"stable": "1.1.0 true"}, list())

	set := func(channel, version string) answer {
		return f.send(http.MethodPut, greeter+"/channels/"+channel, fmt.Sprintf(`{"version":%q}`, version), "")
	}
	beta := f.requireStatus(http.StatusOK, set("beta", "1.1.0"))
	require.Equal(t, map[string]any{"channel": "beta", "version": "1.1.0", "implicit": false, "updated_at": "2026-11-22T12:00:00Z"}, beta)
	f.requireStatus(http.StatusOK, set("stable", "1.0.0"))
	require.Equal(t, map[string]string{"beta": "1.1.0 false", "stable": "1.0.0 false"}, list())
	require.Equal(t, "1.0.0", f.send(http.MethodGet, greeter+"/versions/stable", "", buyer).json(t)["version"])
	require.Equal(t, []string{"beta", "stable"}, f.items(f.get(greeter+"/channels"), "channel"))

	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, greeter+"/channels/stable", "", "").status)
	require.Equal(t, map[string]string{"beta": "1.1.0 false", "stable": "1.1.0 true"}, list())
	f.requireCode(http.StatusNotFound, "channel_not_found", f.send(http.MethodDelete, greeter+"/channels/stable", "", ""))
	f.requireCode(http.StatusNotFound, "version_not_found", set("beta", "9.9.9"))
	f.requireCode(http.StatusNotFound, "version_not_found", set("beta", "latest"))
	for _, name := range []string{"latest", "1.0", "Beta", "-a", "a_b", strings.Repeat("a", 41)} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", set(name, "1.0.0"), "channel")
	}
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", set("beta", ""), "/version")
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", set("beta", strings.Repeat("1", 65)), "/version")
	require.Equal(t, "1.1.0", f.get(greeter + "/versions/beta").json(t)["version"])
}

func TestPublishWithChangelogAndChannels(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	with := func(version, more string) string {
		return strings.TrimSuffix(publication(version), "}") + "," + more + "}"
	}
	got := f.requireStatus(http.StatusCreated, f.post("/v1/agents", with("1.0.0", `"changelog":"The first one.","channels":["stable","beta"]`)))
	require.Equal(t, "The first one.", got["changelog"])
	require.Equal(t, greeter+"/versions/1.0.0/changes", field(got, "urls", "changes"))
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", with("1.1.0", `"channels":["beta"]`)))
	require.Equal(t, []string{"1.1.0", "1.0.0"}, f.items(f.get(greeter+"/channels"), "version"))
	require.Equal(t, "The first one.", f.get(greeter + "/versions/stable").json(t)["changelog"])
	require.NotContains(t, f.get(greeter+"/versions").text, "changelog")

	again := f.requireStatus(http.StatusOK, f.post("/v1/agents", with("1.0.0", `"changelog":"Another story.","channels":["beta"]`)))
	require.Equal(t, "The first one.", again["changelog"])
	require.Equal(t, []string{"1.0.0", "1.0.0"}, f.items(f.get(greeter+"/channels"), "version"), "a repeat mends what was not stored")

	for more, pointers := range map[string][]string{
		`"channels":["a","b","c","d","e","f"]`:                {"/channels"},
		`"channels":["a","a"]`:                                {"/channels"},
		`"channels":["Beta","1"]`:                             {"/channels/0", "/channels/1"},
		`"channels":["beta","latest"]`:                        {"/channels/1"},
		`"changelog":"` + strings.Repeat("x", 16385) + `"`:    {"/changelog"},
		`"changelog":7,"channels":"beta","changes":"unknown"`: {"/changelog", "/changes", "/channels"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.post("/v1/agents", with("2.0.0", more)), pointers...)
	}
	f.requireCode(http.StatusUnprocessableEntity, "version_invalid",
		f.post("/v1/agents", with("2.0.0", `"changelog":"`+strings.Repeat("ä", 8193)+`"`)), "/changelog")
	f.requireCode(http.StatusNotFound, "version_not_found", f.get(greeter+"/versions/2.0.0"))
}

func TestChanges(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	_, stranger := f.organization("stranger")
	f.publish("1.0.0")
	f.list("greeter", nil)
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", strings.Replace(asking("2.0.0", "api.example.com:443"),
		`"command"`, `"tools":["acme/search"],"timeouts":{"run_seconds":600},"resources":{"memory_mib":64},"command"`, 1)))
	changes := func(query, token string) map[string]any {
		return f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter+"/versions/"+query, "", token))
	}
	wider := map[string]any{
		"widens": true, "tools_added": []any{"acme/search"}, "egress_added": []any{"api.example.com:443"},
		"envelope": []any{
			map[string]any{"name": "memory_mib", "from": 128.0, "to": 64.0},
			map[string]any{"name": "run_seconds", "from": 300.0, "to": 600.0},
		},
	}
	got := changes("2.0.0/changes?from=1.0.0", buyer)
	require.Equal(t, wider, got["change"])
	require.Equal(t, []any{"version", "1.0.0", "2.0.0", "acme/greeter"}, []any{got["basis"], got["from"], got["to"], got["agent"]})
	require.Equal(t, []any{
		"calls the tools acme/search", "connects to api.example.com:443",
		"runs for up to 600 s with 0.500 CPU, 64 MiB of memory and 64 MiB of disk",
	}, field(got, "permissions", "words"))
	back := changes("1.0.0/changes?from=stable", buyer)
	require.Equal(t, []any{"acme/search"}, field(back, "change", "tools_removed"))
	require.Equal(t, true, field(back, "change", "widens"), "more memory")

	require.Equal(t, "nothing", changes("1.0.0/changes", buyer)["basis"], "it has agreed to nothing and runs nothing")
	require.Equal(t, "2.0.0", changes("1.0.0/changes", "")["from"], "the publisher runs the latest one")
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/installation", `{"version":"1.0.0"}`, buyer))
	runs := changes("2.0.0/changes", buyer)
	require.Equal(t, []any{"version", "1.0.0"}, []any{runs["basis"], runs["from"]})
	require.Equal(t, wider, runs["change"])
	f.requireStatus(http.StatusOK, f.send(http.MethodPost, greeter+"/installation/consent", `{"version":"2.0.0"}`, buyer))
	agreed := changes("2.0.0/changes", buyer)
	require.Equal(t, "consent", agreed["basis"])
	require.Equal(t, false, field(agreed, "change", "widens"))

	f.requireCode(http.StatusNotFound, "version_not_found", f.get(greeter+"/versions/9.0.0/changes"))
	f.requireCode(http.StatusNotFound, "version_not_found", f.get(greeter+"/versions/1.0.0/changes?from=9.0.0"))
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.get(greeter+"/versions/1.0.0/changes?from="+strings.Repeat("1", 65)), "from")
	f.list("greeter", map[string]any{"visibility": "private"})
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodGet, greeter+"/versions/2.0.0/changes", "", stranger))
}
