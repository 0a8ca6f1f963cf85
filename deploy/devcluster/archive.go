package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An image archive is an OCI image layout in a tar file, with the manifest.json
// of docker save beside it for Docker before version 25. The OCI layout carries
// the manifest itself, so the digest known at build time is the one that the
// cluster knows the image by; docker's own format has no manifest, and each
// importer invents one.

const (
	defaultTag          = "dev"
	annotationImageName = "io.containerd.image.name"
	annotationRefName   = "org.opencontainers.image.ref.name"
)

// imageName is a name as containerd keeps it, for example
// "docker.io/library/agent:dev" for "agent".
type imageName struct {
	given string // as the user wrote it, without the tag
	full  string // with registry, without the tag
	tag   string
}

func parseImageName(text string) (imageName, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return imageName{}, fmt.Errorf("parse image name %q: %w", text, err)
	}
	if _, digested := named.(reference.Digested); digested {
		return imageName{}, fmt.Errorf("parse image name %q: want NAME[:TAG] without a digest", text)
	}
	n := imageName{full: named.Name(), tag: defaultTag, given: text}
	if tagged, ok := named.(reference.Tagged); ok {
		n.tag = tagged.Tag()
		n.given = strings.TrimSuffix(text, ":"+n.tag)
	}
	return n, nil
}

func (n imageName) tagged() string               { return n.full + ":" + n.tag }
func (n imageName) pinned(digest v1.Hash) string { return n.full + "@" + digest.String() }
func (n imageName) shown(digest v1.Hash) string  { return n.given + "@" + digest.String() }

// writeArchive writes one image under one name and returns its manifest's digest.
func writeArchive(file string, n imageName, img v1.Image) (digest v1.Hash, err error) {
	f, err := os.CreateTemp(path.Dir(file), "."+path.Base(file)+".*")
	if err != nil {
		return v1.Hash{}, fmt.Errorf("create archive: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	digest, err = writeArchiveTo(f, n, img)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return v1.Hash{}, fmt.Errorf("write archive %s: %w", file, err)
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return v1.Hash{}, fmt.Errorf("place archive: %w", err)
	}
	return digest, nil
}

func writeArchiveTo(w io.Writer, n imageName, img v1.Image) (v1.Hash, error) {
	digest, err := img.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return v1.Hash{}, err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return v1.Hash{}, err
	}
	configName, err := img.ConfigName()
	if err != nil {
		return v1.Hash{}, err
	}
	layers, err := img.Layers()
	if err != nil {
		return v1.Hash{}, err
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType:   types.OCIManifestSchema1,
		Digest:      digest,
		Size:        int64(len(manifest)),
		Annotations: map[string]string{annotationImageName: n.tagged(), annotationRefName: n.tag},
	}}}
	docker := []dockerManifest{{Config: blobPath(configName), RepoTags: []string{n.tagged()}}}

	tw := tar.NewWriter(w)
	for _, layer := range layers {
		at, err := writeLayerBlob(tw, layer)
		if err != nil {
			return v1.Hash{}, err
		}
		docker[0].Layers = append(docker[0].Layers, at)
	}
	err = errors.Join(
		writeBlob(tw, blobPath(configName), config),
		writeBlob(tw, blobPath(digest), manifest),
		writeJSON(tw, "index.json", index),
		writeJSON(tw, "manifest.json", docker),
		writeJSON(tw, "oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}),
		tw.Close(),
	)
	return digest, err
}

// dockerManifest is an element of docker save's manifest.json.
type dockerManifest struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

func writeLayerBlob(tw *tar.Writer, layer v1.Layer) (string, error) {
	digest, err := layer.Digest()
	if err != nil {
		return "", err
	}
	size, err := layer.Size()
	if err != nil {
		return "", err
	}
	r, err := layer.Compressed()
	if err != nil {
		return "", err
	}
	defer r.Close()
	if err := tw.WriteHeader(blobHeader(blobPath(digest), size)); err != nil {
		return "", err
	}
	_, err = io.Copy(tw, r)
	return blobPath(digest), err
}

func writeJSON(tw *tar.Writer, name string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeBlob(tw, name, raw)
}

func writeBlob(tw *tar.Writer, name string, content []byte) error {
	if err := tw.WriteHeader(blobHeader(name, int64(len(content)))); err != nil {
		return err
	}
	_, err := io.Copy(tw, bytes.NewReader(content))
	return err
}

func blobHeader(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0)}
}

// archivedImage is an image found in an archive.
type archivedImage struct {
	name   imageName
	digest v1.Hash
}

// readArchive finds the images of an OCI archive that have a name.
func readArchive(file string) ([]archivedImage, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	defer f.Close()
	tr := tar.NewReader(f)
	for {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read archive %s: no index.json: want an OCI archive, as 'devcluster image' or Docker 25 and later write", file)
		}
		if err != nil {
			return nil, fmt.Errorf("read archive %s: %w", file, err)
		}
		if path.Clean(header.Name) != "index.json" {
			continue
		}
		var index v1.IndexManifest
		if err := json.NewDecoder(tr).Decode(&index); err != nil {
			return nil, fmt.Errorf("decode index of archive %s: %w", file, err)
		}
		return namedImages(file, index)
	}
}

func namedImages(file string, index v1.IndexManifest) ([]archivedImage, error) {
	var found []archivedImage
	for _, m := range index.Manifests {
		text := m.Annotations[annotationImageName]
		if text == "" {
			continue
		}
		n, err := parseImageName(text)
		if err != nil {
			return nil, fmt.Errorf("read archive %s: %w", file, err)
		}
		found = append(found, archivedImage{name: n, digest: m.Digest})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("read archive %s: no image in it has a name (annotation %s)", file, annotationImageName)
	}
	return found, nil
}
