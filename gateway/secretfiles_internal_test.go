package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/ids"
)

// TestRedactorsAreBounded: those that look for something are, and all go in time.
func TestRedactorsAreBounded(t *testing.T) {
	now := time.Unix(1, 0)
	r := &redactors{kept: map[sessionKey]keptRedactor{}, sweptAt: now}
	key := func(i int) sessionKey { return sessionKey{ids.Run(fmt.Sprint(i)), 1} }
	for i := range 3 * maxRedactors {
		now = now.Add(time.Millisecond)
		r.know(key(i), [][]byte{[]byte("a-long-secret")}, now)
		r.know(key(i), [][]byte{[]byte("a-long-secret")}, now) // the same again is no other one
		r.know(key(-i-1), nil, now)
		require.LessOrEqual(t, r.some, maxRedactors)
	}
	_, known := r.get(key(0), now)
	require.False(t, known, "the oldest goes first")
	found, known := r.get(key(3*maxRedactors-1), now)
	require.True(t, known)
	require.Equal(t, "[redacted]", found.Text("a-long-secret"))
	found, known = r.get(key(-1), now)
	require.True(t, known)
	require.Nil(t, found)
	_, known = r.get(key(-1), now.Add(redactorFresh))
	require.False(t, known, "a new value may be there")

	r.know(key(0), [][]byte{[]byte("a-long-secret")}, now.Add(2*redactorFresh))
	require.Len(t, r.kept, maxRedactors, "who reads no secrets goes first")
	r.know(key(-1), nil, now.Add(3*redactorLife))
	require.Len(t, r.kept, 1)
	require.Zero(t, r.some)
}

// TestOldValues: they are looked for as long as there is room for them.
func TestOldValues(t *testing.T) {
	now := time.Unix(1, 0)
	r := &redactors{kept: map[sessionKey]keptRedactor{}, sweptAt: now}
	key := sessionKey{"run_1", 1}
	r.know(key, [][]byte{[]byte("first-value")}, now)
	got := r.know(key, [][]byte{[]byte("second-value")}, now)
	require.Equal(t, "[redacted] [redacted]", got.Text("first-value second-value"))
	large := func(c byte) []byte {
		value := make([]byte, agentruntime.MaxSecretFilesBytes)
		for i := range value {
			value[i] = c
		}
		return value
	}
	r.know(key, [][]byte{large('a')}, now)
	got = r.know(key, [][]byte{large('b')}, now)
	require.Equal(t, "first-value", got.Text("first-value"))
	require.Equal(t, "[redacted]", got.Text(string(large('b'))))
}
