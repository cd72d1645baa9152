//! Content among the large objects of the node's own store.

use bytes::Bytes;
use ues_storage::{BlockRef, ObjectError, ObjectReader, ObjectWriter, Objects, Store};

use super::{BlobReader, BlobStore, BlobStoreError, BlobWriter, Content, Place};

/// The large objects of a store as a place for blobs.
pub struct DiskBlobs {
    objects: Objects,
}

impl DiskBlobs {
    /// Those of this store.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            objects: store.objects(),
        }
    }
}

impl BlobStore for DiskBlobs {
    fn writer(&self, holder: BlockRef) -> Box<dyn BlobWriter> {
        Box::new(self.objects.writer(holder))
    }

    fn open(
        &self,
        content: &Content,
        offset: u64,
    ) -> Result<Option<Box<dyn BlobReader>>, BlobStoreError> {
        let Place::Disk(object) = content.place else {
            return Ok(None);
        };
        let Some(mut reader) = self.objects.open(&object)? else {
            return Ok(None);
        };
        reader.seek_to(offset)?;
        Ok(Some(Box::new(reader)))
    }

    fn delete(&self, place: Place, holder: BlockRef) -> Result<(), BlobStoreError> {
        if let Place::Disk(object) = place {
            self.objects.delete(&object, holder)?;
        }
        Ok(())
    }
}

impl BlobWriter for ObjectWriter {
    fn push(&mut self, bytes: &[u8]) -> Result<(), BlobStoreError> {
        Ok(Self::push(self, bytes)?)
    }

    fn finish(self: Box<Self>) -> Result<Place, BlobStoreError> {
        match Self::finish(*self) {
            Ok((object, _)) => Ok(Place::Disk(object)),
            Err(ObjectError::Storage(e)) => Err(e.into()),
            Err(other) => Err(BlobStoreError::Damaged(other.to_string())),
        }
    }
}

impl BlobReader for ObjectReader {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, BlobStoreError> {
        Ok(Self::next_chunk(self)?)
    }
}
