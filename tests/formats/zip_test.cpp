#include "formats/zip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builders.h"

namespace taper {
namespace {

using testing::HasSubstr;

std::string error_of(const std::string& file) {
  const auto archive = open_zip(shared(file));
  return archive ? "" : archive.error().text();
}

std::string content(const ZipArchive& archive, std::string_view name) {
  const ZipEntry* entry = archive.find(name);
  if (!entry) return "(no entry)";
  const auto bytes = archive.read(*entry);
  return bytes ? std::string(as_text(bytes->view)) : bytes.error().text();
}

TEST(Zip, reads_stored_entries_without_a_copy) {
  const SharedBytes file = shared(zip_file({stored("a/one", "first"), stored("a/two", "")}));
  const auto archive = open_zip(file);
  ASSERT_TRUE(archive) << archive.error().text();
  ASSERT_EQ(archive->entries().size(), 2u);
  EXPECT_EQ(content(*archive, "a/one"), "first");
  EXPECT_EQ(content(*archive, "a/two"), "");
  EXPECT_EQ(archive->find("a"), nullptr);
  const auto bytes = archive->read(archive->entries()[0]);
  EXPECT_GE(bytes->view.data(), file.view.data());
  EXPECT_LT(bytes->view.data(), file.view.data() + file.view.size());
}

TEST(Zip, inflates_deflated_entries) {
  const std::string text(100'000, 'x');
  const auto archive =
      open_zip(shared(zip_file({compressed("a", text), compressed("b", ""), compressed("c", "short")})));
  ASSERT_TRUE(archive) << archive.error().text();
  EXPECT_EQ(content(*archive, "a"), text);
  EXPECT_EQ(content(*archive, "b"), "");
  EXPECT_EQ(content(*archive, "c"), "short");
}

TEST(Zip, reads_an_archive_without_entries_and_one_with_a_comment) {
  EXPECT_TRUE(open_zip(shared(zip_file({}))));
  EXPECT_TRUE(open_zip(shared(zip_file({stored("a", "x")}, {.comment = "PK\x05 and \x06"}))));
}

// One reader takes the first, another the second, and each sees another archive.
TEST(Zip, refuses_an_end_record_within_the_comment_of_another) {
  const std::string other = zip_file({});
  EXPECT_NE(error_of(zip_file({stored("a", "x")}, {.comment = other + "x"})), "");
  EXPECT_NE(error_of(zip_file({stored("a", "x")}, {.comment = "PK\x05\x06 is not here"})), "");
}

TEST(Zip, reads_sizes_and_offsets_of_64_bits) {
  ZipFileEntry entry = stored("a", "content");
  entry.size = entry.compressed_size = entry.header_offset = 0xffffffff;
  entry.extra = little(0x5855, 2) + little(3, 2) + "abc" + little(1, 2) + little(24, 2) + little(7, 8) + little(7, 8) +
                little(0, 8);
  const auto archive = open_zip(shared(zip_file({entry})));
  ASSERT_TRUE(archive) << archive.error().text();
  EXPECT_EQ(content(*archive, "a"), "content");

  entry.extra = little(1, 2) + little(8, 2) + little(7, 8);
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("in the extra field of entry 'a'"));
  entry.extra = "";
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("outside of the archive"));
}

TEST(Zip, reads_an_end_record_of_64_bits) {
  const std::string file = zip_file({stored("a", "content")});
  const std::size_t end = file.size() - 22;
  const std::uint64_t size = 46 + 1;
  const std::string end64 = "PK\x06\x06" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) + little(1, 8) +
                            little(1, 8) + little(size, 8) + little(end - size, 8);
  const std::string locator = "PK\x06\x07" + little(0, 4) + little(end, 8) + little(1, 4);
  const std::string empty_end = "PK\x05\x06" + little(0, 4) + std::string(12, '\xff') + little(0, 2);
  const auto archive = open_zip(shared(file.substr(0, end) + end64 + locator + empty_end));
  ASSERT_TRUE(archive) << archive.error().text();
  EXPECT_EQ(content(*archive, "a"), "content");
  const std::string wrong = "PK\x06\x07" + little(0, 4) + little(std::uint64_t{1} << 63, 8) + little(1, 4);
  EXPECT_THAT(error_of(file.substr(0, end) + end64 + wrong + empty_end), HasSubstr("no zip64 directory"));
  // Between the record and its locator another record could hide, which a reader finds that looks there.
  EXPECT_THAT(error_of(file.substr(0, end) + end64 + std::string(56, 'x') + locator + empty_end),
              HasSubstr("no zip64 directory"));
  const std::string second = "PK\x06\x07" + little(1, 4) + little(end, 8) + little(2, 4);
  EXPECT_THAT(error_of(file.substr(0, end) + end64 + second + empty_end), HasSubstr("several disks"));
}

TEST(Zip, refuses_every_truncation) {
  const std::string file = zip_file({stored("a", "first"), compressed("b", "second")});
  for (std::size_t size = 0; size < file.size(); ++size) EXPECT_FALSE(open_zip(shared(file.substr(0, size)))) << size;
}

TEST(Zip, survives_every_change_of_one_byte) {
  const std::string file = zip_file({stored("a", "first"), compressed("b", "second")});
  for (std::size_t i = 0; i < file.size(); ++i) {
    for (const int value : {0, 1, 0x7f, 0x80, 0xff}) {
      std::string changed = file;
      changed[i] = static_cast<char>(value);
      const auto archive = open_zip(shared(changed));
      if (!archive) continue;
      for (const ZipEntry& entry : archive->entries()) static_cast<void>(archive->verify(entry));
    }
  }
}

TEST(Zip, refuses_data_before_the_archive_and_gaps) {
  EXPECT_THAT(error_of(zip_file({stored("a", "x")}, {.before = "MZ"})), HasSubstr("does not end at"));
  EXPECT_THAT(error_of(zip_file({stored("a", "x")}, {.gap = "hidden"})), HasSubstr("does not end at"));
}

TEST(Zip, refuses_more_or_fewer_entries_than_declared) {
  EXPECT_THAT(error_of(zip_file({stored("a", "x")}, {.entries = 2})), HasSubstr("declares 2 entries"));
  EXPECT_THAT(error_of(zip_file({stored("a", "x"), stored("b", "x")}, {.entries = 1})), HasSubstr("goes on"));
}

TEST(Zip, refuses_two_entries_of_one_name) {
  EXPECT_THAT(error_of(zip_file({stored("a", "x"), stored("b", "x"), stored("a", "y")})),
              HasSubstr("two entries named 'a'"));
}

TEST(Zip, refuses_overlapping_entries) {
  ZipFileEntry twin = stored("b", "");
  twin.local_name = "a";
  twin.header_offset = 0;
  EXPECT_THAT(error_of(zip_file({stored("a", ""), twin})), HasSubstr("another name"));
  ZipFileEntry long_entry = stored("a", "x");
  long_entry.size = long_entry.compressed_size = 20;
  EXPECT_THAT(error_of(zip_file({long_entry, stored("b", "y")})), HasSubstr("'a' and 'b' overlap"));
  EXPECT_THAT(error_of(zip_file({long_entry})), HasSubstr("overlaps the archive's directory"));
}

TEST(Zip, refuses_entries_outside_of_the_file) {
  ZipFileEntry entry = stored("a", "x");
  entry.header_offset = 0x7fffffff;
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("outside of the archive"));
  entry = stored("a", "x");
  entry.size = entry.compressed_size = 0x7fffffff;
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("outside of the archive"));
}

TEST(Zip, refuses_encryption_and_other_methods) {
  ZipFileEntry entry = stored("a", "x");
  entry.flags = 1;
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("encrypted"));
  entry.flags = 0;
  entry.method = 12;
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("method 12"));
  entry.method = 0;
  entry.flags = 1 << 6;
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("encrypted"));
  entry.flags = 1 << 5;
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("and patches, expected at most 6.3"));
}

TEST(Zip, refuses_names_that_lead_elsewhere) {
  for (const char* name : {"", "/etc/passwd", "../a", "a/../../b", "a/..", "a\\b", "a\nb", "\xff"})
    EXPECT_NE(error_of(zip_file({stored(name, "x")})), "") << name;
  EXPECT_EQ(error_of(zip_file({stored("a..b/..c/手話", "x"), stored("folder/", "")})), "");
}

TEST(Zip, refuses_sizes_that_deflate_cannot_reach) {
  ZipFileEntry entry = compressed("a", "x");
  entry.size = 1'000'000'000;
  EXPECT_THAT(error_of(zip_file({entry})), HasSubstr("more than"));
}

TEST(Zip, refuses_a_bomb) {
  std::vector<ZipFileEntry> entries;
  const ZipFileEntry one = compressed("", std::string(10'000'000, '\0'));
  for (int i = 0; i < 20; ++i) {
    entries.push_back(one);
    entries.back().name = entries.back().local_name = std::to_string(i);
  }
  EXPECT_THAT(error_of(zip_file(entries)), HasSubstr("would inflate to 200000000 bytes"));
}

TEST(Zip, refuses_damaged_deflated_data) {
  for (const std::uint64_t size : {4, 6}) {
    ZipFileEntry entry = compressed("a", "first");
    entry.size = size;
    const auto archive = open_zip(shared(zip_file({entry})));
    ASSERT_TRUE(archive) << archive.error().text();
    EXPECT_THAT(content(*archive, "a"), HasSubstr(size == 4 ? "longer than declared" : "1 bytes shorter"));
  }
  ZipFileEntry wrong_crc = compressed("a", "first");
  wrong_crc.crc ^= 1;
  EXPECT_THAT(content(*open_zip(shared(zip_file({wrong_crc}))), "a"), HasSubstr("checksum"));
  ZipFileEntry empty = compressed("a", "");
  empty.size = 1;
  EXPECT_THAT(content(*open_zip(shared(zip_file({empty}))), "a"), HasSubstr("1 bytes shorter"));
}

TEST(Zip, verifies_stored_entries_when_asked) {
  ZipFileEntry wrong = stored("a", "first");
  wrong.crc ^= 1;
  const auto archive = open_zip(shared(zip_file({wrong, stored("b", "x")})));
  EXPECT_EQ(content(*archive, "a"), "first");
  EXPECT_FALSE(archive->verify(*archive->find("a")));
  EXPECT_TRUE(archive->verify(*archive->find("b")));
}

}  // namespace
}  // namespace taper
