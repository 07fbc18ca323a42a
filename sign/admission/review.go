// Package admission decides about Kubernetes objects by verifying the images
// they name. It speaks the webhook protocol of admission.k8s.io/v1 and nothing
// else of Kubernetes: an object is JSON in which images are found.
//
// It does not know what makes an image good; a [Decider] does. What is here is
// what a server needs around it: which images an object names, a bounded cache
// keyed by digest, one verification at a time per image, deadlines, modes,
// metrics, and that a panic ends one request and nothing more.
//
//	s := admission.New(decider, admission.Options{})
//	http.Handle("/", s)
//
// Source of the protocol: kubernetes.io, "Dynamic Admission Control".
package admission

import (
	"encoding/json"
	"errors"
	"fmt"
)

// apiVersion and kind of the reviews that are understood.
const (
	apiVersion = "admission.k8s.io/v1"
	kind       = "AdmissionReview"
)

// Review is an AdmissionReview.
type Review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *Request  `json:"request,omitempty"`
	Response   *Response `json:"response,omitempty"`
}

// Request is as much of an AdmissionRequest as is needed.
type Request struct {
	UID         string           `json:"uid"`
	Kind        GroupVersionKind `json:"kind"`
	SubResource string           `json:"subResource,omitempty"`
	Name        string           `json:"name,omitempty"`
	Namespace   string           `json:"namespace,omitempty"`
	Operation   string           `json:"operation"`
	Object      json.RawMessage  `json:"object,omitempty"`
	OldObject   json.RawMessage  `json:"oldObject,omitempty"`
}

// GroupVersionKind names a kind of object.
type GroupVersionKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// Response is an AdmissionResponse.
type Response struct {
	UID              string            `json:"uid"`
	Allowed          bool              `json:"allowed"`
	Status           *Status           `json:"status,omitempty"`
	Patch            []byte            `json:"patch,omitempty"`
	PatchType        string            `json:"patchType,omitempty"`
	Warnings         []string          `json:"warnings,omitempty"`
	AuditAnnotations map[string]string `json:"auditAnnotations,omitempty"`
}

// Status is the reason of a refusal.
type Status struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// ErrReview is wrapped by errors about bytes that are no review.
var ErrReview = errors.New("not an admission review")

// ParseReview reads a review with a request.
func ParseReview(raw []byte) (*Request, error) {
	var r Review
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReview, err)
	}
	switch {
	case r.APIVersion != apiVersion || r.Kind != kind:
		return nil, fmt.Errorf("%w: found %q %q, expected %s %s", ErrReview, r.APIVersion, r.Kind, apiVersion, kind)
	case r.Request == nil:
		return nil, fmt.Errorf("%w: request is missing", ErrReview)
	case r.Request.UID == "":
		return nil, fmt.Errorf("%w: request.uid is missing", ErrReview)
	}
	return r.Request, nil
}
