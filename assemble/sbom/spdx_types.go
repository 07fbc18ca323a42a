package sbom

// The JSON of SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/), as far as it
// is written here and read from embedded SBOMs.

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxReference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxVerification struct {
	Value string `json:"packageVerificationCodeValue"`
}

type spdxPackage struct {
	SPDXID           string            `json:"SPDXID"`
	Name             string            `json:"name"`
	Version          string            `json:"versionInfo,omitempty"`
	FileName         string            `json:"packageFileName,omitempty"`
	Supplier         string            `json:"supplier,omitempty"`
	Originator       string            `json:"originator,omitempty"`
	Download         string            `json:"downloadLocation"`
	FilesAnalyzed    bool              `json:"filesAnalyzed"`
	Verification     *spdxVerification `json:"packageVerificationCode,omitempty"`
	Checksums        []spdxChecksum    `json:"checksums,omitempty"`
	Homepage         string            `json:"homepage,omitempty"`
	SourceInfo       string            `json:"sourceInfo,omitempty"`
	LicenseConcluded string            `json:"licenseConcluded,omitempty"`
	LicenseDeclared  string            `json:"licenseDeclared,omitempty"`
	Copyright        string            `json:"copyrightText,omitempty"`
	Description      string            `json:"description,omitempty"`
	Comment          string            `json:"comment,omitempty"`
	References       []spdxReference   `json:"externalRefs,omitempty"`
	Purpose          string            `json:"primaryPackagePurpose,omitempty"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

type spdxLicense struct {
	ID   string `json:"licenseId"`
	Text string `json:"extractedText"`
	Name string `json:"name,omitempty"`
}

type spdxExternalDocument struct {
	ID       string       `json:"externalDocumentId"`
	Document string       `json:"spdxDocument"`
	Checksum spdxChecksum `json:"checksum"`
}

const (
	spdxRef      = "SPDXRef-"
	spdxDocument = "SPDXRef-DOCUMENT"
)
