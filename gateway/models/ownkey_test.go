package models_test

import (
	"context"
	"errors"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/stretchr/testify/require"

	"agentmarket/gateway/models"
	"agentmarket/money"
)

const ownKey = "sk-of-the-buyer"

// withOwnKey gives the upstream a key of the buyer's.
func withOwnKey(key string, err error) func(*models.Config) {
	return func(c *models.Config) {
		c.Upstreams[0].OwnKey = func(_ context.Context, s models.Session) (string, error) {
			if s.Org != "org_secretname" {
				return "", errors.New("of another organization")
			}
			return key, err
		}
	}
}

// TestOwnKeyPays: who brings a key pays the upstream, and nothing here.
func TestOwnKeyPays(t *testing.T) {
	w := newWorld(t, 0, says("hello", 12, 3), withOwnKey(ownKey, nil)) // not even a budget
	_, err := w.agent().Chat.Completions.New(t.Context(), ask("hi"))
	require.NoError(t, err)
	require.Equal(t, "Bearer "+ownKey, w.last(t).header.Get("Authorization"))
	require.Equal(t, models.Usage{Attempt: 2, Model: "small", InputTokens: 12, OutputTokens: 3, Cost: money.Of(0, "USD")}, w.meter.usage(t))
}

func TestNoOwnKey(t *testing.T) {
	w := newWorld(t, 1_000_000, says("hello", 12, 3), withOwnKey("", nil))
	_, err := w.agent().Chat.Completions.New(t.Context(), ask("hi"))
	require.NoError(t, err)
	require.Equal(t, "Bearer "+upstreamKey, w.last(t).header.Get("Authorization"))
	require.Equal(t, money.Of(18, "USD"), w.meter.usage(t).Cost)
}

// TestOwnKeyThatDoesNotWork: the operator's is never used instead, and nobody hears either.
func TestOwnKeyThatDoesNotWork(t *testing.T) {
	refused := newWorld(t, 1_000_000, refuses(401, `{"error":{"message":"bad key `+ownKey+`"}}`), withOwnKey(ownKey, nil))
	_, err := refused.agent().Chat.Completions.New(t.Context(), ask("hi"))
	var answer *openai.Error
	require.ErrorAs(t, err, &answer)
	require.Equal(t, 502, answer.StatusCode)
	require.Equal(t, "own_key_refused", answer.Code)
	require.NotContains(t, answer.Error(), ownKey)
	require.NotContains(t, refused.logged.String(), ownKey)
	require.Zero(t, refused.meter.usage(t).Cost.Micros)

	away := newWorld(t, 1_000_000, says("hello", 12, 3), withOwnKey("", errors.New("the database is away")))
	_, err = away.agent().Chat.Completions.New(t.Context(), ask("hi"))
	require.ErrorAs(t, err, &answer)
	require.Equal(t, "upstream_misconfigured", answer.Code)
	require.Zero(t, away.calls())
	require.Empty(t, away.meter.usages(t), "nothing was reserved")
}
