package product_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/money"
	"agentmarket/product"
)

func TestCheckWebhookURL(t *testing.T) {
	long := "https://example.com/" + strings.Repeat("a", product.MaxWebhookURL-len("https://example.com/"))
	for text, insecureOnly := range map[string]bool{
		"https://example.com": false, "https://example.com:8443/hooks/a%20b?token=x&y=": false, "HTTPS://example.com/": false,
		"https://[2606:4700::1111]:443/": false, "https://bücher.example/": false, long: false,
		"http://example.com/": true, "http://127.0.0.1:8080/": true,
	} {
		err := product.CheckWebhookURL(text, false)
		if insecureOnly {
			requireInvalidAt(t, err, "/url")
		} else {
			require.NoError(t, err, text)
		}
		require.NoError(t, product.CheckWebhookURL(text, true), text)
	}
	for _, text := range []string{
		"", "example.com", "//example.com/", "/hooks", "https:", "https://", "https:///hooks", "https://:443/", "https:example.com",
		"ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)",
		"https://user@example.com/", "https://user:password@example.com/", "https://@example.com/",
		"https://example.com/#top", "https://example.com/#", "https://example.com:0/", "https://example.com:65536/", "https://example.com:port/",
		"https://exa mple.com/", " https://example.com/", "https://example.com/a b", "https://example.com/\n", "https://example.com/\x00",
		"https://example.com\\@other.example/", "https://example.com/\xff", "https://%zz/", long + "a",
	} {
		for _, insecure := range []bool{false, true} {
			requireInvalidAt(t, product.CheckWebhookURL(text, insecure), "/url")
		}
	}
}

func requireInvalidAt(t *testing.T, err error, pointer string) {
	t.Helper()
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	require.Len(t, fault.From(err).Fields, 1)
	require.Equal(t, pointer, fault.From(err).Fields[0].Pointer)
}

func TestWebhookSecret(t *testing.T) {
	first, second := product.NewWebhookSecret(), product.NewWebhookSecret()
	require.NotEqual(t, first.Reveal(), second.Reveal())
	require.NoError(t, product.CheckWebhookSecret(first.Reveal()))
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(first.Reveal(), "whsec_"))
	require.NoError(t, err)
	require.Len(t, key, 32)

	of := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, n := range []int{24, 32, 64} {
		require.NoError(t, product.CheckWebhookSecret(of(n)), n)
	}
	for _, text := range []string{
		"", "whsec_", of(23), of(65), of(3000), of(32)[len("whsec_"):], "WHSEC_" + of(32)[len("whsec_"):], of(32) + "\n", of(32) + "=",
		strings.TrimRight(of(32), "="), "whsec_" + strings.Repeat("-", 44), of(25)[:len(of(25))-3] + "\n\n==",
	} {
		err := product.CheckWebhookSecret(text)
		requireInvalidAt(t, err, "/secret")
		if len(text) > len("whsec_") {
			require.NotContains(t, fmt.Sprintf("%+v", fault.From(err)), text)
		}
	}
}

// TestSecretStaysInside: whoever prints an endpoint does not print its secret.
func TestSecretStaysInside(t *testing.T) {
	e, err := product.NewEndpoint("org_1", "https://example.com/", "", false, time.Now())
	require.NoError(t, err)
	text, err := json.Marshal(e)
	require.NoError(t, err)
	for _, printed := range []string{fmt.Sprint(e), fmt.Sprintf("%+v %#v %q %s", e, e, e.Secret, e.Secret), string(text)} {
		require.NotContains(t, printed, e.Secret.Reveal())
		require.Contains(t, printed, "[secret]")
	}
}

func TestNewEndpoint(t *testing.T) {
	own := product.NewWebhookSecret().Reveal()
	e, err := product.NewEndpoint("org_1", "https://example.com/", own, false, time.Unix(1, 0))
	require.NoError(t, err)
	require.Equal(t, own, e.Secret.Reveal())
	require.True(t, e.Wants(product.WebhookRunEnded))
	e.Events = []product.WebhookEvent{product.WebhookRunWaitingApproval}
	require.False(t, e.Wants(product.WebhookRunEnded))
	_, err = product.NewEndpoint("org_1", "http://example.com/", own, false, time.Now())
	requireInvalidAt(t, err, "/url")
	_, err = product.NewEndpoint("org_1", "https://example.com/", "short", false, time.Now())
	requireInvalidAt(t, err, "/secret")
}

func TestRunPayload(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 5000, time.FixedZone("CET", 3600))
	run := product.Run{
		ID: "run_1", OrgID: "org_1", Agent: "acme/greeter", Version: "1.0.0", Status: product.StatusFailed,
		Reason: "agent_error", Cause: product.CauseAgent, Message: "exit 1", Labels: map[string]string{"team": "blue"},
		Cost: money.Of(1500000, "USD"), CreatedAt: at.Add(-time.Minute), FinishedAt: at,
		Origin: product.Origin{Kind: product.OriginRetry, RetryOf: "run_0"},
	}
	require.JSONEq(t, `{"type":"run.ended","timestamp":"2026-03-01T09:00:00.000005Z","data":{
		"run_id":"run_1","agent":"acme/greeter","version":"1.0.0","status":"failed","reason":"agent_error","cause":"agent","message":"exit 1",
		"labels":{"team":"blue"},"cost":{"amount_micros":1500000,"currency":"USD"},
		"created_at":"2026-03-01T08:59:00.000005Z","finished_at":"2026-03-01T09:00:00.000005Z","origin":{"kind":"retry","retry_of":"run_0"}}}`,
		string(product.RunPayload(product.WebhookRunEnded, run, at)))

	waiting := product.Run{ID: "run_2", Agent: "acme/greeter", Version: "1.0.0", Status: product.StatusWaitingApproval, CreatedAt: at, Origin: product.Origin{Kind: product.OriginAPI}}
	require.JSONEq(t, `{"type":"run.waiting_approval","timestamp":"2026-03-01T09:00:00.000005Z","data":{
		"run_id":"run_2","agent":"acme/greeter","version":"1.0.0","status":"waiting_approval","reason":"","cause":"","message":"",
		"labels":{},"cost":null,"created_at":"2026-03-01T09:00:00.000005Z","finished_at":null,"origin":{"kind":"api"}}}`,
		string(product.RunPayload(product.WebhookRunWaitingApproval, waiting, at)))
	require.JSONEq(t, `{"type":"webhook.test","timestamp":"2026-03-01T09:00:00.000005Z","data":{"webhook_id":"whk_1"}}`,
		string(product.TestPayload("whk_1", at)))
}

func TestWebhookEventOf(t *testing.T) {
	at := time.Unix(100, 0)
	approval := &product.Approval{RequestedAt: at}
	for _, tt := range []struct {
		before product.Status
		run    product.Run
		want   product.WebhookEvent
	}{
		{product.StatusRunning, product.Run{Status: product.StatusSucceeded, FinishedAt: at}, product.WebhookRunEnded},
		{product.StatusQueued, product.Run{Status: product.StatusExpired, FinishedAt: at}, product.WebhookRunEnded},
		{product.StatusSucceeded, product.Run{Status: product.StatusSucceeded, FinishedAt: at}, ""},
		{product.StatusQueued, product.Run{Status: product.StatusWaitingApproval, Approval: approval}, product.WebhookRunWaitingApproval},
		{product.StatusWaitingApproval, product.Run{Status: product.StatusWaitingApproval, Approval: approval}, ""},
		{product.StatusWaitingApproval, product.Run{Status: product.StatusQueued, Approval: approval}, ""},
		{product.StatusQueued, product.Run{Status: product.StatusStarting}, ""},
		{product.StatusRunning, product.Run{Status: product.StatusCanceling}, ""},
	} {
		event, happened := product.WebhookEventOf(tt.before, tt.run)
		require.Equal(t, tt.want, event, "%s to %s", tt.before, tt.run.Status)
		if event != "" {
			require.Empty(t, cmp.Diff(at, happened))
		}
	}
}
