from tests.store.small_disk import small_disk

__all__ = ["small_disk"]
