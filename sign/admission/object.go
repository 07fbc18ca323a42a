package admission

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Use is a place in an object that names an image.
type Use struct {
	// Path is a JSON pointer (RFC 6901) into the object.
	Path  string
	Image string
}

// workload is what of an object matters.
type workload struct {
	uses    []Use
	secrets []string // names of imagePullSecrets
	gone    bool     // being deleted
}

// podPaths says where the pod is in each kind of object.
var podPaths = map[string][]string{
	"Pod":                   {"spec"},
	"PodTemplate":           {"template", "spec"},
	"Deployment":            {"spec", "template", "spec"},
	"StatefulSet":           {"spec", "template", "spec"},
	"DaemonSet":             {"spec", "template", "spec"},
	"ReplicaSet":            {"spec", "template", "spec"},
	"ReplicationController": {"spec", "template", "spec"},
	"Job":                   {"spec", "template", "spec"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template", "spec"},
}

// podSpec is as much of a PodSpec as names images.
type podSpec struct {
	Containers          []container `json:"containers"`
	InitContainers      []container `json:"initContainers"`
	EphemeralContainers []container `json:"ephemeralContainers"`
	Volumes             []struct {
		Image *struct {
			Reference string `json:"reference"`
		} `json:"image"`
	} `json:"volumes"`
	ImagePullSecrets []struct {
		Name string `json:"name"`
	} `json:"imagePullSecrets"`
}

type objectHeader struct {
	Metadata struct {
		DeletionTimestamp *string `json:"deletionTimestamp"`
	} `json:"metadata"`
}

type container struct {
	Image string `json:"image"`
}

// objectOf finds the images of an object. A kind that is not known is an error:
// it may well run something.
func objectOf(kind string, raw json.RawMessage) (*workload, error) {
	path, ok := podPaths[kind]
	if !ok {
		return nil, fmt.Errorf("kind %q: not understood: expected one of %s", kind, strings.Join(kinds(), ", "))
	}
	w := &workload{}
	var meta objectHeader
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, fmt.Errorf("object: %w", err)
	}
	w.gone = meta.Metadata.DeletionTimestamp != nil
	pointer := ""
	for _, key := range path {
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil {
			return nil, fmt.Errorf("object%s: %w", pointer, err)
		}
		raw, pointer = o[key], pointer+"/"+key
		if len(raw) == 0 || string(raw) == "null" {
			return w, nil // a ReplicationController need not have a template
		}
	}
	var spec podSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("object%s: %w", pointer, err)
	}
	w.images(pointer, &spec)
	return w, nil
}

func kinds() []string {
	var out []string
	for k := range podPaths {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (w *workload) images(pointer string, spec *podSpec) {
	for _, list := range []struct {
		key        string
		containers []container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}, {"ephemeralContainers", spec.EphemeralContainers}} {
		for i, c := range list.containers {
			if c.Image != "" { // templates may leave it to somebody else
				w.uses = append(w.uses, Use{fmt.Sprintf("%s/%s/%d/image", pointer, list.key, i), c.Image})
			}
		}
	}
	for i, v := range spec.Volumes {
		if v.Image != nil && v.Image.Reference != "" {
			w.uses = append(w.uses, Use{fmt.Sprintf("%s/volumes/%d/image/reference", pointer, i), v.Image.Reference})
		}
	}
	for _, s := range spec.ImagePullSecrets {
		w.secrets = append(w.secrets, s.Name)
	}
}

// changed leaves out the images that the object named before the change: they
// were decided about then, and an object must stay changeable, above all by the
// controllers that delete it.
func (w *workload) changed(old *workload) []Use {
	var out []Use
	for _, u := range w.uses {
		if !slices.ContainsFunc(old.uses, func(o Use) bool { return o.Image == u.Image }) {
			out = append(out, u)
		}
	}
	return out
}
