package kube

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"agentmarket/infra"
)

// Inventory is infra.Inventory on a real API server. It reads metadata only: inputs
// are large, and none of its business.
type Inventory struct {
	client metadata.Interface
	cfg    Config
}

var _ infra.Inventory = (*Inventory)(nil)

// NewInventory returns the adapter.
func NewInventory(client metadata.Interface, cfg Config) *Inventory {
	return &Inventory{client: client, cfg: cfg}
}

// inventoryPage is how many objects are read at once.
const inventoryPage = 500

// kinds are those that the platform makes. Pods belong to their Job.
var kinds = map[string]schema.GroupVersionResource{
	"Job":    {Group: "batch", Version: "v1", Resource: "jobs"},
	"Secret": {Version: "v1", Resource: "secrets"},
}

// Objects implements infra.Inventory.
func (i *Inventory) Objects(ctx context.Context, page func([]infra.Object) error) error {
	for kind, resource := range kinds {
		for _, namespace := range i.cfg.Watched() {
			if err := i.list(ctx, kind, i.client.Resource(resource).Namespace(namespace), page); err != nil {
				return err
			}
		}
	}
	return nil
}

func (i *Inventory) list(ctx context.Context, kind string, api metadata.ResourceInterface, page func([]infra.Object) error) error {
	options := metav1.ListOptions{LabelSelector: labelManagedBy + "=" + managedBy, Limit: inventoryPage}
	for {
		list, err := i.read(ctx, api, options)
		if err != nil {
			return interpret(err, "list objects of kind "+kind)
		}
		var objects []infra.Object
		for _, item := range list.Items {
			ref, ok := refOf(item.Labels)
			if !ok || !i.cfg.ours(item.Namespace) {
				continue
			}
			objects = append(objects, infra.Object{
				Kind: kind, Namespace: item.Namespace, Name: item.Name, UID: string(item.UID), CreatedAt: item.CreationTimestamp.Time, Ref: ref,
			})
		}
		if err := page(objects); err != nil {
			return err
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}

func (i *Inventory) read(ctx context.Context, api metadata.ResourceInterface, options metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return api.List(ctx, options)
}

// Remove implements infra.Inventory. The object is read once more, and deleted only as
// the one that was judged.
func (i *Inventory) Remove(ctx context.Context, o infra.Object) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	api := i.client.Resource(kinds[o.Kind]).Namespace(o.Namespace)
	uid := types.UID(o.UID)
	live, err := api.Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && (live.UID != uid || live.DeletionTimestamp != nil) {
		return false, nil
	}
	if err != nil {
		return false, interpret(err, "read "+o.Kind+" "+o.Name)
	}
	err = api.Delete(ctx, o.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: new(metav1.DeletePropagationBackground),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	return err == nil, interpret(err, "delete "+o.Kind+" "+o.Name)
}
