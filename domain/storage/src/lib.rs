//! Storage pools, domains, images and volumes: policy over the ports of storage-model.
#![forbid(unsafe_code)]
