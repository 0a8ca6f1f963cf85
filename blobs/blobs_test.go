package blobs_test

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	_ "gocloud.dev/blob/fileblob"

	"agentmarket/blobs"
	"agentmarket/fault"
	"agentmarket/product"
)

func open(t *testing.T) *blobs.Store {
	t.Helper()
	store, err := blobs.Open(t.Context(), "file://"+t.TempDir()+"?no_tmp_dir=true")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func TestPutThenGetAndRepeat(t *testing.T) {
	store := open(t)
	first, err := store.Put(t.Context(), "runs/run_1/output.json", "application/json", []byte(`{"a":1}`))
	require.NoError(t, err)
	again, err := store.Put(t.Context(), "runs/run_1/output.json", "application/json", []byte(`{"a":1}`))
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.EqualValues(t, 7, first.Size)

	body, err := store.Get(t.Context(), first)
	require.NoError(t, err)
	require.JSONEq(t, `{"a":1}`, string(body))

	r, err := store.Reader(t.Context(), first.Key)
	require.NoError(t, err)
	defer r.Close()
	streamed, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, body, streamed)
}

func TestGetNoticesAChangedBody(t *testing.T) {
	store := open(t)
	b, err := store.Put(t.Context(), "k", "text/plain", []byte("one"))
	require.NoError(t, err)
	_, err = store.Put(t.Context(), "k", "text/plain", []byte("two"))
	require.NoError(t, err)
	_, err = store.Get(t.Context(), b)
	require.ErrorContains(t, err, "hash")
}

func TestMissingBodyIsNotFound(t *testing.T) {
	store := open(t)
	_, err := store.Get(t.Context(), product.Blob{Key: "nothing"})
	require.True(t, fault.Is(err, fault.NotFound))
	_, err = store.Reader(t.Context(), "nothing")
	require.True(t, fault.Is(err, fault.NotFound))
	require.NoError(t, store.Accessible(t.Context()))
}

func TestDeleteAndRepeat(t *testing.T) {
	store := open(t)
	b, err := store.Put(t.Context(), "runs/run_1/output.json", "application/json", []byte(`{}`))
	require.NoError(t, err)
	kept, err := store.Put(t.Context(), "runs/run_1/attempts/1/log.txt", "text/plain", []byte("hello"))
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, store.Delete(t.Context(), b.Key))
	}
	_, err = store.Get(t.Context(), b)
	require.True(t, fault.Is(err, fault.NotFound))
	_, err = store.Get(t.Context(), kept)
	require.NoError(t, err)
}

func TestPutStream(t *testing.T) {
	store := open(t)
	put, err := store.PutStream(t.Context(), "k", "text/plain", strings.NewReader("hello"), 5)
	require.NoError(t, err)
	whole, err := store.Put(t.Context(), "other", "text/plain", []byte("hello"))
	require.NoError(t, err)
	whole.Key = "k"
	require.Equal(t, whole, put)

	broken := fault.New(fault.Invalid, "", "ended early")
	for name, tt := range map[string]struct {
		body io.Reader
		kind fault.Kind
	}{
		"too large": {strings.NewReader("hello!"), fault.TooLarge},
		"broken":    {io.MultiReader(strings.NewReader("he"), iotest.ErrReader(broken)), fault.Invalid},
	} {
		_, err := store.PutStream(t.Context(), "k-"+name, "text/plain", tt.body, 5)
		require.True(t, fault.Is(err, tt.kind), "%s: %v", name, err)
		_, err = store.Reader(t.Context(), "k-"+name)
		require.True(t, fault.Is(err, fault.NotFound), "%s: nothing is stored", name)
	}
}
