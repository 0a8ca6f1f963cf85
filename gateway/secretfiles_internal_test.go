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
	some := agentruntime.NewRedactor([]byte("a-long-secret"))
	key := func(i int) sessionKey { return sessionKey{ids.Run(fmt.Sprint(i)), 1} }
	for i := range 3 * maxRedactors {
		r.put(key(i), some, now)
		r.put(key(i), some, now) // the same again is no other one
		r.put(key(-i-1), nil, now)
		require.LessOrEqual(t, r.some, maxRedactors)
	}
	found, known := r.get(key(3*maxRedactors-1), now)
	require.True(t, known)
	require.Same(t, some, found)
	found, known = r.get(key(-1), now)
	require.True(t, known)
	require.Nil(t, found)
	_, known = r.get(key(-1), now.Add(redactorLife))
	require.False(t, known, "a new value may be there")

	r.put(key(0), nil, now.Add(2*redactorLife))
	require.Len(t, r.kept, 1)
	require.Zero(t, r.some)
}
