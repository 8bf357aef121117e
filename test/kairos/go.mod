module github.com/ingot-project/cluster-api-provider-ingot/test/kairos

go 1.26.0

require (
	github.com/kairos-io/kairos-sdk v0.15.0
	github.com/mudler/yip v1.19.0
	github.com/twpayne/go-vfs/v4 v4.3.0
)

require (
	github.com/google/shlex v0.0.0-20191202100458-e7afc7fbc510 // indirect
	github.com/hashicorp/errwrap v1.1.0 // indirect
	github.com/hashicorp/go-multierror v1.1.1 // indirect
	github.com/itchyny/gojq v0.12.18 // indirect
	github.com/itchyny/timefmt-go v0.1.7 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/santhosh-tekuri/jsonschema/v5 v5.3.1 // indirect
	github.com/swaggest/jsonschema-go v0.3.62 // indirect
	github.com/swaggest/refl v1.3.0 // indirect
	golang.org/x/sys v0.38.0 // indirect
	gopkg.in/yaml.v2 v2.4.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)

// The SDK asks for a version of yip that not every checksum database knows. What is used of it is the same in this one.
replace github.com/mudler/yip => github.com/mudler/yip v1.17.0
