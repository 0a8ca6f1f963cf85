package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

func TestPushedImageHasTheDigestThatWasBuilt(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	n, err := parseImageName(strings.TrimPrefix(server.URL, "http://") + "/agents/hello")
	require.NoError(t, err)
	img, done, err := buildImage(imageSpec{files: []string{"push.go:0644:/push.go"}})
	require.NoError(t, err)
	defer done()
	require.NoError(t, pushImage(t.Context(), n, img))

	built, err := img.Digest()
	require.NoError(t, err)
	ref, err := name.NewDigest(n.pinned(built))
	require.NoError(t, err)
	got, err := remote.Get(ref)
	require.NoError(t, err)
	require.Equal(t, built, got.Digest)
}
