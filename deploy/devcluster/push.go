package main

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pushImage sends an image to the registry that its name names, with the
// credentials of `docker login`: for clusters that are not ours and pull their
// images.
func pushImage(ctx context.Context, n imageName, img v1.Image) error {
	ref, err := name.NewTag(n.tagged())
	if err != nil {
		return fmt.Errorf("push image %s: %w", n.given, err)
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("push image %s: %w", n.given, err)
	}
	return nil
}
