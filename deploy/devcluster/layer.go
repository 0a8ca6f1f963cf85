package main

import (
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// plainLayer is an uncompressed layer in a file: containerd has it unpacked
// sooner than a compressed one, and its digest does not depend on a compressor's
// version. The layers of go-containerregistry's tarball package always compress.
type plainLayer struct {
	file   string
	digest v1.Hash
	size   int64
}

func newPlainLayer(file string) (plainLayer, error) {
	f, err := os.Open(file)
	if err != nil {
		return plainLayer{}, err
	}
	defer f.Close()
	digest, size, err := v1.SHA256(f)
	if err != nil {
		return plainLayer{}, err
	}
	return plainLayer{file: file, digest: digest, size: size}, nil
}

func (l plainLayer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l plainLayer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l plainLayer) Compressed() (io.ReadCloser, error)   { return os.Open(l.file) }
func (l plainLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.file) }
func (l plainLayer) Size() (int64, error)                 { return l.size, nil }
func (l plainLayer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
